import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.rloo import RLOO


def loss(recipe, rewards=fx.REWARDS):
    return recipe.loss(fx.POLICY, recipe.credit(fx.ROLLOUT, rewards, fx.REF))


def test_loss_by_hand():
    """Sums of log-probabilities -3.2, -1.7, -2.9, -1.9; advantages +-2/3."""
    np.testing.assert_allclose(loss(RLOO(kl_coef=0.0))[0], 1 / 12, atol=1e-6)


def test_loss_with_the_divergence_in_the_reward_by_hand():
    """Rewards 1.015, .01, -.01, 1.03 less the mean of the others."""
    recipe = RLOO(kl_coef=0.1)
    batch = recipe.credit(fx.ROLLOUT, fx.REWARDS, fx.REF)
    np.testing.assert_allclose(batch.advantages[0, :, 0], [0.671667, -0.668333, -0.695, 0.691667], atol=2e-6)
    np.testing.assert_allclose(loss(recipe)[0], 0.0779583, atol=1e-6)


def test_divergence_is_reported_as_estimated_from_the_sampler():
    np.testing.assert_allclose(loss(RLOO())[1]["kl"], jnp.where(fx.MASK, fx.OLD - fx.REF, 0), atol=1e-6)


def test_gradient_is_the_weighted_advantage():
    recipe = RLOO(kl_coef=0.0)
    batch = recipe.credit(fx.ROLLOUT, fx.REWARDS)
    gradient = jax.grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY).logps
    expected = jnp.where(fx.MASK, jnp.array([[[-1.0], [1.0], [1.0], [-1.0]]]) / 6, 0)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_a_second_update_on_one_rollout_is_refused():
    recipe = RLOO(kl_coef=0.0)
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    with pytest.raises(ValueError, match="one update per rollout"):
        recipe.loss(fx.POLICY, batch)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="kl_coef"):
        RLOO(kl_coef=-1.0)
