import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import divergence, regression, weight
from posttrain_jax.recipes.policy.reg_grpo import RegGRPO

EXACT = RegGRPO(kl_coef=0.0, eps=0.0)


def step(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(fx.informed(recipe, rewards)[0], old_logps=fx.OLD)
    (_, metrics), gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch), has_aux=True)(fx.POLICY)
    return gradient.logps, metrics


def test_worked_gradients_stand_on_every_token():
    gradient, _ = step(EXACT)
    expected = jnp.array([[-1.387255, 1.627357, -0.293458, 0.053356]])[:, :, None]
    np.testing.assert_allclose(gradient, jnp.where(fx.MASK, expected, 0), atol=5e-6)


def test_the_gradient_is_that_of_the_coupled_error_and_the_divergence():
    recipe = RegGRPO(kl_coef=0.3, eps=0.05)

    def objective(logps):
        targets = jnp.array([[1.0, -1, -1, 1]])
        moved = jnp.sum(logps - fx.OLD, axis=-1)
        error = regression.squared_error(moved, targets, jnp.ones((1, 4), bool), fx.GROUP_IDS, eps=0.05)
        return error + 0.3 * jnp.sum(weight.sequence_mean(fx.MASK) * divergence.k3_loss(logps, fx.REF))

    gradient, metrics = step(recipe)
    np.testing.assert_allclose(gradient, jnp.where(fx.MASK, jax.grad(objective)(fx.LOGPS), 0), atol=5e-6)
    assert "kl" in metrics


def test_shift_and_scale_of_rewards_change_nothing():
    np.testing.assert_allclose(step(EXACT, 8 * fx.REWARDS - 3)[0], step(EXACT)[0], atol=2e-6)


def test_groups_of_equal_rewards_leave_the_batch():
    both = jax.tree.map(lambda x: jnp.concatenate([x, x]), (fx.ROLLOUT, fx.POLICY))
    groups = dataclasses.replace(both[0].groups, group_ids=jnp.array([0, 1]))
    rewards = jnp.concatenate([fx.REWARDS, jnp.ones((1, 4))])
    batch, _ = fx.informed(EXACT, rewards, rollout=dataclasses.replace(both[0], groups=groups), policy=both[1])
    alone, _ = fx.informed(EXACT)
    np.testing.assert_allclose(batch.advantages[:1], alone.advantages, rtol=1e-6)
    np.testing.assert_array_equal(batch.advantages[1], 0)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="eps="):
        RegGRPO(eps=-0.1)
