import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import divergence
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.kl_cov import KLCov

PLAIN = GRPO(kl_coef=0.0, ddof=0, eps=0.0)
ONE = KLCov(recipe=PLAIN)


def step(recipe, old_logps=fx.OLD):
    batch = dataclasses.replace(fx.informed(recipe)[0], old_logps=old_logps)
    (value, metrics), gradient = jax.value_and_grad(lambda p: recipe.loss(p, batch), has_aux=True)(fx.POLICY)
    return value, gradient.logps, metrics


def test_worked_losses():
    value, gradient, metrics = step(ONE)
    np.testing.assert_allclose(value, 0.017630914, atol=1e-6)
    np.testing.assert_array_equal(np.argwhere(metrics["held"][0]), [[0, 1]])
    free, free_gradient, _ = step(dataclasses.replace(ONE, kl_coef=0.0))
    np.testing.assert_allclose(free, -0.004591308, atol=1e-6)
    by_hand = -jnp.exp(fx.LOG_RATIO) * fx.ADVANTAGES / 9
    np.testing.assert_allclose(free_gradient, by_hand, atol=1e-6)
    np.testing.assert_allclose(gradient - free_gradient, -metrics["held"] / 9, atol=1e-6)  # its log-ratio is -0.2


def test_the_policy_as_it_is_says_which_are_held():
    """FX: the three largest covariances are 0.419753 and twice 0.197531; the old policy's would be others."""
    held = step(KLCov(share=1 / 3, recipe=PLAIN))[2]["held"]
    np.testing.assert_array_equal(np.argwhere(held[0]), [[0, 0], [0, 1], [1, 1]])


def test_failed_completions_are_not_held():
    rewards = jnp.array([[jnp.nan, 0.0, 0.0, 1.0]])
    batch, _ = fx.informed(KLCov(share=1.0, recipe=PLAIN), rewards)
    np.testing.assert_array_equal(batch.extra["held"], fx.MASK.at[0, 0].set(False))
    np.testing.assert_allclose(batch.token_weights.sum(), 1, rtol=1e-6)


def test_all_tokens_held_is_a_penalty_on_every_token():
    value = step(KLCov(share=1.0, recipe=PLAIN))[0]
    free = step(dataclasses.replace(ONE, kl_coef=0.0))[0]
    np.testing.assert_allclose(value - free, jnp.abs(fx.LOG_RATIO).sum() / 9, rtol=1e-5)


def test_another_penalty():
    value = step(dataclasses.replace(ONE, penalty=divergence.k2_loss))[0]
    free = step(dataclasses.replace(ONE, kl_coef=0.0))[0]
    np.testing.assert_allclose(value - free, 0.2**2 / 2 / 9, rtol=1e-4)


def test_on_policy_nothing_is_held():
    gradient = step(ONE, old_logps=None)[1]
    np.testing.assert_allclose(gradient, -fx.ADVANTAGES / 9, atol=1e-7)
    np.testing.assert_allclose(step(ONE, old_logps=fx.LOGPS)[1], gradient, atol=1e-7)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="share="):
        KLCov(share=1.5)
    with pytest.raises(ValueError, match="kl_coef=0"):
        KLCov(recipe=GRPO())
