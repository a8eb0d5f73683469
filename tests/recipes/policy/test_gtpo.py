import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.gtpo import GTPO

EXACT = {"ddof": 0, "eps": 0.0}
PLAIN = GTPO(limit=math.inf, entropy_coef=0.0, **EXACT)
APART = jnp.arange(12).reshape(1, 4, 3)
"""Completions that share no token."""


def rollout(completions=APART, entropy=None):
    entropy = fx.ROLLOUT.sampler.entropy if entropy is None else jnp.where(fx.MASK, entropy, 0)
    groups = dataclasses.replace(fx.ROLLOUT.groups, completions=completions)
    return dataclasses.replace(fx.ROLLOUT, groups=groups, sampler=types.TokenStats(fx.LOGPS, entropy))


def step(recipe, data):
    batch = recipe.credit(data, fx.REWARDS)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)
    return value, gradient.logps


def test_without_conflict_and_entropy_it_is_grpo_on_policy():
    value, gradient = step(PLAIN, rollout())
    expected_value, expected = step(GRPO(kl_coef=0.0, **EXACT), rollout())
    np.testing.assert_allclose(value, expected_value, atol=1e-7)
    np.testing.assert_allclose(gradient, expected, atol=1e-7)


def test_worked_weights_of_shared_tokens():
    words = jnp.array([[[5, 7, 9, 3], [5, 7, 8, 3], [5, 6, 9, 3]]])
    mask = jnp.ones((1, 3, 4), bool)
    still = types.TokenStats(jnp.zeros((1, 3, 4)), jnp.zeros((1, 3, 4)))
    groups = dataclasses.replace(
        fx.ROLLOUT.groups, completions=words, completion_lengths=jnp.full((1, 3), 4), completion_mask=mask
    )
    data = types.Rollout(groups=groups, sampler=still, truncated=jnp.zeros((1, 3), bool))
    batch = GTPO().credit(data, jnp.array([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(batch.token_weights[0] * 12, [[2, 2, 2, 2], [0, 0, 1, 0], [0, 1, 0, 0]], rtol=1e-6)
    batch = GTPO().credit(data, jnp.array([[1.0, 0.0, 0.5]]))  # the third is neither good nor bad
    np.testing.assert_allclose(batch.token_weights[0, 2] * 12, [1, 1, 1, 1], rtol=1e-6)


def test_uncertain_completions_are_left_out_but_keep_their_place():
    data = rollout(entropy=jnp.array([[[0.5], [0.6], [0.8], [0.7]]]))
    got = step(dataclasses.replace(PLAIN, limit=math.log(2)), data)[1]
    kept = jnp.array([1.0, 1, 0, 0])[None, :, None]
    np.testing.assert_allclose(got, step(PLAIN, data)[1] * kept, atol=1e-7)


def test_entropy_is_taken_off_the_advantage_whatever_its_sign():
    data = rollout(entropy=jnp.array([[[0.1], [0.2], [0.3], [0.4]]]))
    value, gradient = step(dataclasses.replace(PLAIN, entropy_coef=0.5), data)
    advantages = np.array([0.95, -1.1, -1.15, 0.8])
    np.testing.assert_allclose(value, -advantages.mean(), rtol=1e-6)
    np.testing.assert_allclose(gradient.sum(-1)[0], -advantages / 4, rtol=1e-5)
    flat = dataclasses.replace(PLAIN, entropy_coef=0.5).credit(data, jnp.ones((1, 4)))
    np.testing.assert_allclose(flat.advantages[0, :, 0], [-0.05, -0.1, -0.15, -0.2], rtol=1e-6)


def test_a_second_update_on_one_rollout_is_refused():
    batch = dataclasses.replace(GTPO().credit(rollout(), fx.REWARDS), old_logps=fx.OLD)
    with pytest.raises(ValueError, match="one update per rollout"):
        GTPO().loss(fx.POLICY, batch)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="limit="):
        GTPO(limit=0.0)
