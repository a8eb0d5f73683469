import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.opsm import OPSM

SAMPLER = fx.LOGPS + jnp.where(fx.MASK, jnp.array([[[0.6], [0.6], [0.4], [0.6]]]), 0)
"""All but the third completion have become less likely by 0.6 nats per token."""
ROLLOUT = dataclasses.replace(fx.ROLLOUT, sampler=dataclasses.replace(fx.ROLLOUT.sampler, logps=SAMPLER))
PLAIN = GRPO(kl_coef=0.0, ddof=0, eps=0.0)


def loss(recipe, rollout=ROLLOUT, old_logps=fx.OLD):
    batch = dataclasses.replace(recipe.credit(rollout, fx.REWARDS, fx.REF), old_logps=old_logps)
    return recipe.loss(fx.POLICY, batch)


def weighted_loss(weights):
    batch = dataclasses.replace(PLAIN.credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    weights = weights * jnp.ones_like(fx.OLD)
    return PLAIN.loss(fx.POLICY, dataclasses.replace(batch, token_weights=batch.token_weights * weights))[0]


def test_only_the_stale_bad_completion_is_silent():
    value, metrics = loss(OPSM(PLAIN))
    np.testing.assert_array_equal(metrics["kept"][0, :, 0], [1, 0, 1, 1])
    np.testing.assert_allclose(value, weighted_loss(jnp.array([[[1.0], [0], [1], [1]]])), rtol=1e-5)


def test_a_sampler_that_is_the_policy_masks_nothing():
    agreeing = dataclasses.replace(ROLLOUT, sampler=fx.POLICY)
    np.testing.assert_allclose(loss(OPSM(PLAIN, limit=0.0), agreeing)[0], loss(PLAIN)[0], rtol=1e-6)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="limit="):
        OPSM(PLAIN, limit=-0.1)
