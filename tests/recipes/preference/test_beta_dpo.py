import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import (
    GROUPS,
    POLICY,
    RANDOM_LOGPS,
    RANDOM_MASK,
    RANDOM_REF,
    REF,
    groups,
    lookup,
    random_step,
    stats,
)

from posttrain_jax.losses import running
from posttrain_jax.recipes.preference.beta_dpo import BetaDPO
from posttrain_jax.recipes.preference.dpo import DPO


def credit(recipe, mean, *, logps=POLICY.logps, ref=REF, given=GROUPS):
    moments = running.MovingMoments(mean=jnp.float32(mean), std=jnp.float32(1))
    return recipe.credit(given, {}, lookup(logps, ref), moments)[0]


@pytest.mark.parametrize(("scale", "mean", "beta"), [(0.1, 0.0, 0.112), (1.0, 1.5, 0.13), (1.0, 100.0, 0.001)])
def test_canonical_pair(scale, mean, beta):
    recipe = BetaDPO(scale=scale)
    batch = credit(recipe, mean)
    np.testing.assert_allclose(batch.extra["betas"], [beta], rtol=1e-5)
    np.testing.assert_allclose(recipe.loss(POLICY, batch)[0], np.log1p(np.exp(-2 * beta)), rtol=1e-6)


def test_without_gain_and_thinning_it_is_dpo():
    recipe = BetaDPO(gain=0.0, keep=1.0)
    batch = credit(recipe, 0.0, logps=RANDOM_LOGPS, ref=RANDOM_REF, given=groups(RANDOM_MASK))
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(stats(RANDOM_LOGPS))
    for a, b in zip((value, gradient.logps), random_step(DPO()), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_beta_has_no_gradient():
    def loss(logps):
        recipe = BetaDPO(scale=1.0)
        return recipe.loss(stats(logps), credit(recipe, 1.5, logps=POLICY.logps))[0]

    np.testing.assert_allclose(jax.grad(loss)(POLICY.logps)[0, 0, 0], -0.13 / (1 + np.exp(0.26)), rtol=1e-5)


def test_outliers_are_thinned_out_and_the_others_share_the_weight():
    logps = RANDOM_LOGPS.at[1, 0, 0].add(50.0)
    batch = credit(BetaDPO(keep=0.7, scale=1.0), 0.0, logps=logps, ref=RANDOM_REF, given=groups(RANDOM_MASK))
    np.testing.assert_array_equal(batch.pair_weights, [0.5, 0, 0.5])


def test_averages_follow_the_batch():
    recipe = BetaDPO(scale=1.0)
    start = recipe.init_memory()
    np.testing.assert_array_equal([start.mean, start.std], [0, 1])
    _, moments = recipe.credit(groups(RANDOM_MASK), {}, lookup(RANDOM_LOGPS, RANDOM_REF), start)
    margins = np.where(RANDOM_MASK, RANDOM_LOGPS - RANDOM_REF, 0).sum(-1) @ [1, -1]
    np.testing.assert_allclose(moments.mean, 0.1 * margins.mean(), rtol=1e-4)
    np.testing.assert_allclose(moments.std, 0.9 + 0.1 * margins.std(ddof=1), rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"gain": -1.0}, {"keep": 0.0}, {"scale": 0.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BetaDPO(**wrong)
