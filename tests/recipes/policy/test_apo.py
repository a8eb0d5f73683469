import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import divergence, weight
from posttrain_jax.recipes.policy.apo import APO
from posttrain_jax.recipes.policy.grpo import GRPO

EASE = 0.743119
"""Of a difficulty of one half."""


def test_good_completions_are_held_less_on_hard_prompts():
    recipe = APO(kl_coef=0.5)
    batch, _ = fx.informed(recipe)
    plain, _ = recipe.recipe.loss(fx.POLICY, dataclasses.replace(batch, extra={}))
    shares = np.array([EASE, 1, 1, EASE])[None, :, None]
    kl = np.sum(np.asarray(weight.sequence_mean(fx.MASK) * divergence.k3_loss(fx.LOGPS, fx.REF)) * shares)
    np.testing.assert_allclose(recipe.loss(fx.POLICY, batch)[0] - plain, 0.5 * kl, rtol=1e-4)


def test_wrong_completions_that_went_on_too_long_are_punished_more():
    """The correct ones have 3 and 1 tokens; of the wrong ones, with 2 and 3, the last is one too long."""
    batch, _ = fx.informed(APO(base=2.0))
    plain = GRPO(kl_coef=0.0).credit(fx.ROLLOUT, fx.REWARDS)
    scales = np.array([1, 1, 1.5, 1])[None, :, None]
    np.testing.assert_allclose(batch.advantages, plain.advantages * scales, rtol=1e-6)


def test_without_excess_and_where_all_is_wrong_it_is_grpo_by_tokens():
    recipe, rewards = APO(base=1.0, kl_coef=0.04, above=2.0), jnp.array([[0.3, 0.1, 0.2, 0.9]])
    batch, _ = fx.informed(recipe, rewards)
    plain = GRPO(kl_coef=0.0)
    expected = dataclasses.replace(plain.credit(fx.ROLLOUT, rewards), token_weights=weight.token_mean(fx.MASK))
    kl = 0.04 * jnp.sum(weight.sequence_mean(fx.MASK) * divergence.k3_loss(fx.LOGPS, fx.REF))
    np.testing.assert_allclose(recipe.loss(fx.POLICY, batch)[0], plain.loss(fx.POLICY, expected)[0] + kl, rtol=1e-5)


def test_the_gradient_is_that_of_the_scaled_terms():
    recipe = APO(kl_coef=0.5, base=2.0)
    batch, _ = fx.informed(recipe)
    got = jax.grad(lambda logps: recipe.loss(dataclasses.replace(fx.POLICY, logps=logps), batch)[0])(fx.LOGPS)
    pull = 1 - np.exp(np.asarray(fx.REF - fx.LOGPS))
    expected = -np.asarray(batch.token_weights * batch.advantages) + np.asarray(batch.extra["kl_weights"]) * pull
    np.testing.assert_allclose(got, np.where(fx.MASK, expected, 0), atol=1e-6)


def test_a_base_below_one_is_refused():
    with pytest.raises(ValueError, match=r"base=0\.9"):
        APO(base=0.9)
