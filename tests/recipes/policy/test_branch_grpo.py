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
RECIPE = BranchGRPO(splits=(0, 1))
REWARDS = jnp.array([[0.2, 0.6, 1.0, 0.8]])


def credit(recipe, drawn, prune=None):
    """Of REWARDS on a tree."""
    recipe = recipe if prune is None else dataclasses.replace(recipe, prune=prune)
    return recipe.credit(dataclasses.replace(fx.ROLLOUT, **drawn), REWARDS)


def gradient(recipe, batch):
    batch = dataclasses.replace(batch, old_logps=fx.OLD)
    return jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)


def test_branching_at_the_root_alone_is_grpo_by_tokens():
    recipe, plain = BranchGRPO(splits=(0,), ways=4, clip_low=0.2, clip_high=0.2), GRPO(kl_coef=0.0, eps=1e-8)
    expected = dataclasses.replace(plain.credit(fx.ROLLOUT, REWARDS), token_weights=weight.token_mean(fx.MASK))
    got = gradient(recipe, credit(recipe, FLAT))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, gradient(plain, expected))


def test_worked_batch():
    """Each of two branches has two leaves; shared tokens count half, so that 6.5 are counted in all."""
    batch = credit(RECIPE, PAIRS)
    expected = [[0.5, 1, 1], [0.5, 1, 0], [0.5, 0.5, 1], [0.5, 0, 0]]
    np.testing.assert_allclose(batch.token_weights[0], np.array(expected) / 6.5, rtol=1e-6)
    h = 0.707107
    np.testing.assert_allclose(
        batch.advantages[0],
        [[-h, -1.317465, -1.317465], [-h, -0.146385, 0], [h, h, 1.024695], [h, 0, 0]],
        atol=2e-6,
    )


def test_pruning_the_inner_depths_is_grpo_on_the_last_edges():
    last = PAIRS["edges"] == 1
    batch = credit(RECIPE, PAIRS, tree.Depths((0,)))
    plain = GRPO(kl_coef=0.0, eps=1e-8).credit(fx.ROLLOUT, REWARDS)
    np.testing.assert_allclose(batch.token_weights, weight.token_mean(fx.MASK & last), rtol=1e-6)
    learned = batch.token_weights > 0
    np.testing.assert_allclose(batch.advantages[learned], plain.advantages[learned], rtol=1e-5)


def test_pruning_leaves_advantages_as_they_are():
    kept = tree.extremes(REWARDS, PAIRS["branches"][..., -2], fx.GROUP_IDS)
    np.testing.assert_array_equal(kept, [[False, True, True, False]])
    batch, whole = credit(RECIPE, PAIRS, tree.Width()), credit(RECIPE, PAIRS)
    np.testing.assert_array_equal(batch.advantages, whole.advantages)
    last = np.asarray(PAIRS["edges"] == 1)
    np.testing.assert_array_equal(batch.token_weights[last & ~np.asarray(kept)[:, :, None]], 0)
    learned = np.asarray(batch.token_weights > 0)
    np.testing.assert_array_equal(learned, fx.MASK & (~last | np.asarray(kept)[:, :, None]))
    np.testing.assert_allclose(batch.token_weights.sum(), 1, rtol=1e-6)


def test_advantages_are_held():
    batch = credit(dataclasses.replace(RECIPE, limit=0.5), PAIRS)
    assert jnp.abs(batch.advantages).max() == 0.5


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="limit="):
        BranchGRPO(splits=(0,), limit=0.0)
    with pytest.raises(ValueError, match="splits="):
        BranchGRPO(splits=())
    with pytest.raises(ValueError, match="ascending order"):
        _ = BranchGRPO(splits=(3, 3)).arrangement
    with pytest.raises(ValueError, match="the rollout has none: give `branches`"):
        RECIPE.credit(fx.ROLLOUT, REWARDS)
