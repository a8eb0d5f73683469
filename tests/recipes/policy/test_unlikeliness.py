import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.losses import weight
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.unlikeliness import Unlikeliness

MEANS = jnp.array([[-0.5, -0.9, -1.4, -0.7]])
SAMPLER = types.TokenStats(jnp.where(fx.MASK, MEANS[:, :, None], 0), fx.POLICY.entropy)
ROLLOUT = dataclasses.replace(fx.ROLLOUT, sampler=SAMPLER)


def test_worked_advantages():
    """The rarest of three right answers gains most, the likeliest least."""
    batch = Unlikeliness().credit(ROLLOUT, jnp.array([[1.0, 0.0, 1.0, 1.0]]), fx.REF)
    np.testing.assert_allclose(batch.advantages[0, :, 0], [0.309305, -1.477788, 0.721711, 0.446773], atol=3e-6)
    np.testing.assert_allclose(batch.token_weights, weight.token_mean(fx.MASK))


def test_without_a_preference_it_is_grpo_by_tokens():
    inner = GRPO(kl_coef=0.1)
    batch = Unlikeliness(rank_coef=0.0).credit(ROLLOUT, fx.REWARDS, fx.REF)
    plain = dataclasses.replace(inner.credit(ROLLOUT, fx.REWARDS, fx.REF), token_weights=weight.token_mean(fx.MASK))
    got, expected = (
        jax.value_and_grad(lambda p, r=r, b=b: r.loss(p, dataclasses.replace(b, old_logps=fx.OLD))[0])(fx.POLICY)
        for r, b in ((Unlikeliness(rank_coef=0.0), batch), (inner, plain))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), got, expected)


def test_groups_of_equal_rewards_leave_before_the_order_could_teach():
    batch = Unlikeliness().credit(ROLLOUT, jnp.ones((1, 4)), fx.REF)
    np.testing.assert_array_equal(batch.advantages, 0)
    np.testing.assert_array_equal(batch.token_weights, 0)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="rank_coef="):
        Unlikeliness(rank_coef=1.5)
