import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import controller
from posttrain_jax.recipes.policy.adaptive_entropy import AdaptiveEntropy
from posttrain_jax.recipes.policy.grpo import GRPO

PLAIN = GRPO(kl_coef=0.0)


def gradient(recipe, batch):
    return jax.grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)


@pytest.mark.parametrize(("target", "used", "moved"), [(1.5, 0.02, 0.025), (1.0, 0.02, 0.015), (0.5, 0.0, 0.015)])
def test_the_bonus_counts_at_the_target_and_below_and_the_coefficient_moves(target, used, moved):
    """FX: every entropy is 1."""
    recipe = AdaptiveEntropy(PLAIN, target=target, start=0.02)
    batch, (coef, _) = fx.informed(recipe)
    np.testing.assert_allclose(coef, moved, rtol=1e-5)
    got, plain = gradient(recipe, batch), gradient(PLAIN, batch)
    np.testing.assert_allclose(got.entropy, -used * batch.token_weights, atol=1e-8)
    np.testing.assert_array_equal(got.logps, plain.logps)
    np.testing.assert_allclose(recipe.loss(fx.POLICY, batch)[1]["entropy_coef"], [used], rtol=1e-6)


def test_another_rule():
    recipe = AdaptiveEntropy(PLAIN, target=2.0, start=0.1, control=controller.Dual(target=2.0, rate=1.0))
    _, (coef, _) = fx.informed(recipe)
    np.testing.assert_allclose(coef, 0.1 * np.exp(1.0), rtol=1e-6)


def test_rollouts_without_tokens_do_not_move_it():
    empty = jax.tree.map(lambda x: jnp.zeros_like(x) if x.ndim == 3 else x, fx.ROLLOUT)
    _, (coef, _) = fx.informed(AdaptiveEntropy(PLAIN, target=0.5, start=0.1), rollout=empty)
    np.testing.assert_allclose(coef, 0.1, rtol=1e-6)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="target="):
        AdaptiveEntropy(PLAIN, target=0.0)
    with pytest.raises(ValueError, match="start=0 stays 0"):
        AdaptiveEntropy(PLAIN, target=1.0, control=controller.Dual(target=1.0, rate=1.0))
