import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.losses import difficulty
from posttrain_jax.recipes.policy.filtered import Filtered
from posttrain_jax.recipes.policy.gmpo import GMPO
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.gspo import GSPO

PLAIN = GRPO(kl_coef=0.0)


def step(recipe, rollout, rewards, logps=None, old_logps=None, ref_logps=None):
    batch = dataclasses.replace(recipe.credit(rollout, rewards, ref_logps), old_logps=old_logps)
    policy = types.TokenStats(rollout.sampler.logps if logps is None else logps, rollout.sampler.entropy)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)
    return value, gradient.logps


def two_prompts(rewards):
    """FX and, on a second row, FX again."""
    rollout = jax.tree.map(lambda x: jnp.concatenate([x, x]), fx.ROLLOUT)
    groups = dataclasses.replace(rollout.groups, group_ids=jnp.array([0, 1]))
    return dataclasses.replace(rollout, groups=groups), jnp.array(rewards)


def test_filtered_groups_are_as_if_they_had_not_been_sampled():
    rollout, rewards = two_prompts([[1.0, 0, 0, 1], [1, 1, 1, 1]])
    value, gradient = step(Filtered(PLAIN), rollout, rewards)
    expected_value, expected = step(PLAIN, fx.ROLLOUT, fx.REWARDS)
    np.testing.assert_allclose(value, expected_value, atol=1e-7)
    np.testing.assert_allclose(gradient, jnp.concatenate([expected, 0 * expected]), atol=1e-7)
    diluted = step(PLAIN, rollout, rewards)[1]
    np.testing.assert_allclose(2 * diluted[0], expected[0], atol=1e-7)


def test_a_batch_without_a_kept_group_rests():
    value, gradient = step(Filtered(PLAIN), fx.ROLLOUT, jnp.ones((1, 4)))
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def durations():
    """DMOSpeech 2: one choice of a duration each, rewarded with -(recognition loss + 3 speaker loss)."""
    losses = np.array([[0.5, 0.2], [0.3, 0.25], [1.2, 0.4]])
    groups = types.Groups(
        prompts=jnp.zeros((1, 1), int),
        prompt_lengths=jnp.ones(1, int),
        completions=jnp.array([[[30], [31], [90]]]),
        completion_lengths=jnp.ones((1, 3), int),
        completion_mask=jnp.ones((1, 3, 1), bool),
        group_ids=jnp.zeros(1, int),
    )
    sampler = types.TokenStats(jnp.array([[[-1.0], [-1.3], [-2.0]]]), jnp.ones((1, 3, 1)))
    rewards = jnp.asarray(-(losses[:, 0] + 3 * losses[:, 1]), jnp.float32)[None]
    return types.Rollout(groups, sampler, jnp.zeros((1, 3), bool)), rewards


DMOSPEECH = Filtered(GRPO(kl_coef=0.04, eps=1e-8), difficulty.Spread(0.01))


def test_worked_advantages_of_dmospeech_2():
    rollout, rewards = durations()
    np.testing.assert_allclose(rewards, [[-1.1, -1.05, -2.4]], rtol=1e-6)
    batch = DMOSPEECH.credit(rollout, rewards, rollout.sampler.logps)
    np.testing.assert_allclose(batch.advantages[0, :, 0], [0.544379, 0.609705, -1.154084], atol=5e-6)


def test_dmospeech_2_leaves_inputs_of_equal_rewards_out():
    rollout, _ = durations()
    value, gradient = step(DMOSPEECH, rollout, jnp.array([[-1.0, -1.005, -1.0]]), ref_logps=rollout.sampler.logps)
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    "other",
    [
        GSPO(clip_low=0.2, clip_high=0.2, eps=1e-8),
        GMPO(clip_low=float(-np.log(0.8)), clip_high=float(np.log(1.2)), eps=1e-8),
    ],
)
def test_one_choice_makes_all_ratios_one(other):
    rollout, rewards = durations()
    logps = rollout.sampler.logps + jnp.array([[[0.1], [0.5], [-0.4]]])
    plain = dataclasses.replace(DMOSPEECH, recipe=GRPO(kl_coef=0.0, eps=1e-8))
    got = step(plain, rollout, rewards, logps, rollout.sampler.logps)
    expected = step(other, rollout, rewards, logps, rollout.sampler.logps)
    np.testing.assert_allclose(got[1], expected[1], atol=1e-6)
    assert got[1][0, 1, 0] == 0
