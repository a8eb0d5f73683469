import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import tree, weight
from posttrain_jax.recipes.policy.branch_grpo import BranchGRPO
from posttrain_jax.recipes.policy.grpo import GRPO

FLAT = {"branches": jnp.arange(4).reshape(1, 4, 1), "edges": jnp.zeros((1, 4, 3), int)}
PAIRS = {
    "branches": jnp.array([[[0, 0], [0, 1], [1, 2], [1, 3]]]),
    "edges": jnp.array([[[0, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]]]),
}
REWARDS = jnp.array([[0.2, 0.6, 1.0, 0.8]])


def gradient(recipe, batch):
    batch = dataclasses.replace(batch, old_logps=fx.OLD)
    return jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)


def test_branching_at_the_root_alone_is_grpo_by_tokens():
    recipe, plain = BranchGRPO(clip=0.2), GRPO(kl_coef=0.0, eps=1e-8)
    expected = dataclasses.replace(plain.credit(fx.ROLLOUT, REWARDS), token_weights=weight.token_mean(fx.MASK))
    got = gradient(recipe, recipe.credit(fx.ROLLOUT, REWARDS, **FLAT))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, gradient(plain, expected))


def test_worked_batch():
    """Each of two branches has two leaves; shared tokens count half, so that 6.5 are counted in all."""
    batch = BranchGRPO().credit(fx.ROLLOUT, REWARDS, **PAIRS)
    expected = [[0.5, 1, 1], [0.5, 1, 0], [0.5, 0.5, 1], [0.5, 0, 0]]
    np.testing.assert_allclose(batch.token_weights[0], np.array(expected) / 6.5, rtol=1e-6)
    h = 0.707107
    np.testing.assert_allclose(
        batch.advantages[0],
        [[-h, -1.317465, -1.317465], [-h, -0.146385, 0], [h, h, 1.024695], [h, 0, 0]],
        atol=2e-6,
    )


def test_pruning_the_inner_depths_is_grpo_on_the_last_edges():
    recipe = BranchGRPO()
    last = PAIRS["edges"] == 1
    batch = recipe.credit(fx.ROLLOUT, REWARDS, **PAIRS, kept=last)
    plain = GRPO(kl_coef=0.0, eps=1e-8).credit(fx.ROLLOUT, REWARDS)
    np.testing.assert_allclose(batch.token_weights, weight.token_mean(fx.MASK & last), rtol=1e-6)
    learned = batch.token_weights > 0
    np.testing.assert_allclose(batch.advantages[learned], plain.advantages[learned], rtol=1e-5)


def test_pruning_leaves_advantages_as_they_are():
    kept = tree.extremes(REWARDS, PAIRS["branches"][..., -2], fx.GROUP_IDS)
    np.testing.assert_array_equal(kept, [[False, True, True, False]])
    recipe = BranchGRPO()
    batch = recipe.credit(fx.ROLLOUT, REWARDS, **PAIRS, kept=kept[:, :, None] & fx.MASK)
    whole = recipe.credit(fx.ROLLOUT, REWARDS, **PAIRS)
    np.testing.assert_array_equal(batch.advantages, whole.advantages)
    np.testing.assert_array_equal(batch.token_weights[0, ::3], 0)
    np.testing.assert_allclose(batch.token_weights.sum(), 1, rtol=1e-6)


def test_advantages_are_held():
    batch = BranchGRPO(limit=0.5).credit(fx.ROLLOUT, REWARDS, **PAIRS)
    assert jnp.abs(batch.advantages).max() == 0.5


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="limit="):
        BranchGRPO(limit=0.0)
