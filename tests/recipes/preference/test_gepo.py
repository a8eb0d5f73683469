import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import groups, stats
from canonical_pair import step as plain_step
from lookups import credit, step

from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.gepo import GEPO

RATIOS = jnp.array([[[0.4], [0.8], [-0.2], [0.1], [0.1]]])
WINNERS = {"winners": jnp.array([[1.0, 1, 0, 0, 0]])}
FIVE = groups(jnp.ones((1, 5, 1), bool))


def run(recipe, ratios=RATIOS, columns=WINNERS, of=FIVE):
    return step(recipe, columns, of, policy=stats(ratios), ref=jnp.zeros_like(ratios))


def test_worked_groups():
    value, gradient = run(GEPO(beta=1.0))
    np.testing.assert_allclose(value, 0.477488, rtol=1e-5)
    slope = 1 / (1 + np.exp(0.6))
    # Half the pull each for two winners, a third for three losers; the variance pulls the winners together.
    expected = np.array([-slope / 2 - 0.2, -slope / 2 + 0.2, slope / 3, slope / 3, slope / 3])
    np.testing.assert_allclose(gradient[0, :, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(run(GEPO(beta=1.0, variance_coef=0.0))[0], 0.437488, rtol=1e-5)


def test_of_two_it_is_dpo():
    value, gradient = step(GEPO(), {"winners": jnp.array([[1.0, 0.0]])})
    expected, expected_gradient = plain_step(DPO())
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6)


def test_a_number_added_to_all_log_ratios_changes_nothing():
    np.testing.assert_allclose(run(GEPO(), RATIOS + 3)[0], run(GEPO())[0], rtol=1e-5)


def test_the_variance_is_not_of_the_rewards():
    base = run(GEPO(variance_coef=0.0))[0]
    np.testing.assert_allclose(run(GEPO())[0] - base, 0.04, rtol=1e-5)


def test_per_token():
    mask = jnp.array([[[True, True], [True, False], [True, True]]])
    ratios = jnp.array([[[0.5, 0.3], [0.8, 0.0], [-0.1, -0.1]]])
    columns = {"winners": jnp.array([[1.0, 1, 0]])}
    value, _ = run(GEPO(beta=1.0, per_token=True), ratios, columns, groups(mask))
    np.testing.assert_allclose(value, np.log1p(np.exp(-0.7)) + 0.04, rtol=1e-5)


def test_rows_without_both_kinds_do_not_count_and_the_unlabelled_are_left_out():
    nan = jnp.nan
    columns = {"winners": jnp.array([[1.0, 0, 0, nan, nan], [1, 1, 1, 1, 1], [0, 0, 0, 0, nan], [1, 1, 0, 0, 0]])}
    of = groups(jnp.ones((4, 5, 1), bool).at[3, 2:].set(False))
    batch = credit(GEPO(), columns, of, ref=jnp.zeros((4, 5, 1)))
    np.testing.assert_array_equal(batch.pair_weights, [1, 0, 0, 0])
    ratios = jnp.broadcast_to(jnp.array([0.5, -0.5, -0.1, 9, 9])[None, :, None], (4, 5, 1))
    np.testing.assert_allclose(GEPO(beta=1.0).loss(stats(ratios), batch)[0], np.log1p(np.exp(-0.8)), rtol=1e-5)


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="'winners'"):
        run(GEPO(), columns={})
    for wrong in ({"beta": 0.0}, {"variance_coef": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GEPO(**wrong)
