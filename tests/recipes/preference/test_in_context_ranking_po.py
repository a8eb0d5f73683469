import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import groups, stats
from canonical_pair import step as plain_step
from lookups import credit, step

from posttrain_jax.recipes.preference.in_context_ranking_po import InContextRankingPO
from posttrain_jax.recipes.preference.length_normalized_dpo import LengthNormalizedDPO

RATIOS = jnp.array([[[1.0], [0.0], [-1.0]]])
GRADES = {"grades": jnp.array([[2.0, 1.0, 0.0]])}


def run(recipe, ratios=RATIOS, columns=GRADES, mask=None):
    of = groups(jnp.ones(ratios.shape, bool) if mask is None else mask)
    return step(recipe, columns, of, policy=stats(ratios), ref=jnp.zeros_like(ratios))


def test_three_items():
    np.testing.assert_allclose(run(InContextRankingPO())[0], 0.703639, rtol=1e-5)
    np.testing.assert_allclose(run(InContextRankingPO(mean_rivals=True))[0], 0.420727, rtol=1e-5)


def test_gains_are_those_of_dcg():
    batch = credit(InContextRankingPO(), GRADES, groups(jnp.ones((1, 3, 1), bool)), ref=RATIOS)
    np.testing.assert_allclose(batch.extra["gains"], [[3, 0.630930, 0]], rtol=1e-5)


def test_it_is_a_softmax_over_the_list_in_value_and_gradient():
    gains = jnp.array([3, 0.630930, 0])

    def listwise(ratios):
        return -jnp.sum(gains * jax.nn.log_softmax(0.7 * ratios[0, :, 0])) / 3

    value, gradient = run(InContextRankingPO(beta=0.7))
    expected, expected_gradient = jax.value_and_grad(listwise)(RATIOS)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)


@pytest.mark.parametrize("mean_rivals", [False, True])
def test_of_two_it_is_dpo_per_token_times_half_the_gain(mean_rivals):
    recipe = InContextRankingPO(beta=0.1, mean_rivals=mean_rivals)
    value, gradient = step(recipe, {"grades": jnp.array([[2.0, 0.0]])})
    expected, expected_gradient = plain_step(LengthNormalizedDPO(beta=0.1))
    np.testing.assert_allclose(value, 1.5 * expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, 1.5 * expected_gradient, rtol=1e-6)


def test_lists_without_gain_teach_nothing():
    value, gradient = run(InContextRankingPO(), columns={"grades": jnp.zeros((1, 3))})
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_lists_may_be_shorter():
    ratios = jnp.concatenate([RATIOS, jnp.full((1, 1, 1), 9.0)], axis=1)[:, jnp.array([0, 3, 1, 2])]
    columns = {"grades": jnp.array([[2.0, 7.0, 1.0, 0.0]])}
    mask = jnp.array([[[True], [False], [True], [True]]])
    np.testing.assert_allclose(run(InContextRankingPO(), ratios, columns, mask)[0], 0.703639, rtol=1e-5)
    columns = {"grades": columns["grades"].at[0, 1].set(jnp.nan)}
    value, gradient = run(InContextRankingPO(), ratios, columns)
    np.testing.assert_allclose(value, 0.703639, rtol=1e-5)
    assert gradient[0, 1, 0] == 0


def test_one_item_is_no_list():
    value, gradient = run(InContextRankingPO(), mask=jnp.array([[[True], [False], [False]]]))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="'grades'"):
        run(InContextRankingPO(), columns={})
    with pytest.raises(ValueError, match="beta"):
        InContextRankingPO(beta=0.0)
