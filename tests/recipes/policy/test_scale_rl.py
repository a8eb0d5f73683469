import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.recipes.policy.scale_rl import ScaleRL


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)[0]


def test_worked_loss():
    np.testing.assert_allclose(loss(ScaleRL(eps=0.0)), 0.301849077, atol=1e-6)


def test_groups_of_equal_rewards_leave_and_prompts_weigh_alike():
    """Three groups of two completions, of 3 and 2, 3 and 1, 1 and 1 tokens; the rewards of the second are equal."""
    mask = jnp.arange(3)[None, None, :] < jnp.array([[3, 2], [3, 1], [1, 1]])[:, :, None]
    groups = types.Groups(
        prompts=jnp.zeros((3, 1), int),
        prompt_lengths=jnp.ones(3, int),
        completions=jnp.zeros((3, 2, 3), int),
        completion_lengths=mask.sum(-1),
        completion_mask=mask,
        group_ids=jnp.array([5, 4, 9]),
    )
    nothing = jnp.zeros(mask.shape)
    rollout = types.Rollout(
        groups=groups, sampler=types.TokenStats(nothing, nothing), truncated=jnp.zeros((3, 2), bool)
    )
    batch = ScaleRL(eps=0.0).credit(rollout, jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    np.testing.assert_allclose(batch.token_weights.sum(axis=(1, 2)), [0.5, 0, 0.5], rtol=1e-6)
    np.testing.assert_allclose(batch.token_weights[0][mask[0]], 1 / 10, rtol=1e-6)
    spread = np.std([0.5, -0.5, 0, 0, -0.5, 0.5])
    np.testing.assert_allclose(batch.advantages[:, 0, 0], np.array([0.5, 0, -0.5]) / spread, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"cap": 0.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ScaleRL(**wrong)
