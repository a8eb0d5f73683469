import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, POLICY, REF, groups, loss, stats, step

from posttrain_jax.losses import link
from posttrain_jax.recipes.preference.dpo import DPO
from posttrain_jax.recipes.preference.orpo import ORPO
from posttrain_jax.recipes.preference.rationale_po import RationalePO

GIVEN = jnp.arange(7) < 3
RATIONALE = jnp.where(GIVEN, -5.0, -0.5)[None, None]
MASK = jnp.concatenate([GROUPS.completion_mask, ~GIVEN[None, None]], axis=1)


def run(recipe, rationale=RATIONALE, mask=MASK):
    batch = recipe.credit(groups(mask), jnp.concatenate([REF, jnp.zeros_like(RATIONALE)], axis=1))
    policy = stats(jnp.where(mask, jnp.concatenate([POLICY.logps, rationale], axis=1), 0))
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)
    return value, gradient.logps


def test_canonical_pair():
    np.testing.assert_allclose(run(RationalePO())[0], 1.598139, rtol=1e-6)
    summed = RationalePO(nll_coef=0.001, per_token=False)
    np.testing.assert_allclose(run(summed, jnp.full_like(RATIONALE, -50.0))[0], 0.798139, rtol=1e-6)


def test_the_form_of_the_code_pushes_less():
    # -log sigmoid(gamma log pi(r)), log pi(r) = -200 and gamma = 0.001: sigmoid(0.2) times the slope of the paper's
    value, slope = jax.value_and_grad(lambda logp: link.logistic(0.001 * logp))(jnp.float32(-200.0))
    np.testing.assert_allclose(run(RationalePO(nll_coef=0.0))[0] + value, 1.396278, rtol=1e-6)
    _, gradient = run(RationalePO(nll_coef=0.001, per_token=False), jnp.full_like(RATIONALE, -50.0))
    np.testing.assert_allclose(slope / gradient[0, 2, -1], 0.549834, rtol=1e-5)


def test_rationales_are_pushed_alike_and_what_comes_before_not_at_all():
    _, gradient = run(RationalePO())
    np.testing.assert_allclose(gradient[0, 2], jnp.where(GIVEN, 0, -2 / 4), rtol=1e-6)
    _, gradient = run(RationalePO(per_token=False))
    np.testing.assert_allclose(gradient[0, 2], jnp.where(GIVEN, 0, -2.0), rtol=1e-6)


@pytest.mark.parametrize("recipe", [DPO(), ORPO()])
def test_without_rationales_it_is_the_recipe(recipe):
    expected, expected_gradient = step(recipe)
    for value, gradient in [
        run(RationalePO(recipe, nll_coef=0.0)),
        run(RationalePO(recipe), mask=MASK.at[:, 2].set(False)),
    ]:
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient[:, :2], expected_gradient, rtol=1e-6)


def test_the_reference_is_needed_as_by_the_recipe():
    assert RationalePO().needs_ref
    assert not RationalePO(ORPO()).needs_ref


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="rationale"):
        loss(RationalePO())
    with pytest.raises(ValueError, match="nll_coef"):
        RationalePO(nll_coef=-1.0)
