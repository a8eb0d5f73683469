import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.reinforce_pp_baseline import REINFORCEPlusPlusBaseline


def loss(recipe):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, fx.REWARDS, fx.REF), old_logps=fx.OLD)
    return batch, *recipe.loss(fx.POLICY, batch)


def test_worked_advantages_and_penalty():
    batch, without, _ = loss(REINFORCEPlusPlusBaseline(kl_coef=0.0))
    np.testing.assert_allclose(batch.advantages[0, :, 0], [1.054093, -0.843274, -0.843274, 1.054093], atol=2e-6)
    _, penalised, metrics = loss(REINFORCEPlusPlusBaseline(kl_coef=2.0))
    np.testing.assert_allclose(penalised - without, 2 * 0.051527778, atol=1e-6)
    np.testing.assert_allclose(metrics["kl"][fx.MASK].mean(), 0.051527778, atol=1e-6)


def test_the_penalty_is_pulled_back_by_the_log_ratio():
    recipe = REINFORCEPlusPlusBaseline(kl_coef=1.0)
    batch = recipe.credit(fx.ROLLOUT, jnp.ones((1, 4)), fx.REF)
    gradient = jax.grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY).logps
    np.testing.assert_allclose(gradient, jnp.where(fx.MASK, (fx.LOGPS - fx.REF) / 9, 0), atol=1e-6)


@pytest.mark.parametrize("wrong", [{"clip_low": 0.0}, {"kl_coef": -0.1}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        REINFORCEPlusPlusBaseline(**wrong)
