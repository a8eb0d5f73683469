import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import turns

from posttrain_jax import types
from posttrain_jax.losses import listing
from posttrain_jax.recipes.policy.gspo import GSPO
from posttrain_jax.recipes.policy.rank_grpo import RankGRPO

LISTS = turns.rollout([[[0, 0, 0], [0, 0, None]]], rewards=[[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
CUT = dataclasses.replace(LISTS, truncated=jnp.ones((1, 2), bool))
R = jnp.asarray([[1.5, 0.63]])
FREE = RankGRPO(kl_coef=0.0)


def policy(logps):
    return types.TokenStats(logps=logps, entropy=jnp.zeros_like(logps))


def test_each_rank_is_compared_with_the_same_rank():
    """Gains [1.5, 0.5, 0.5] and [0.63093, 0.63093, 0]: a list without a third rank earned nothing there."""
    got = turns.of_turns(turns.credit(FREE, CUT, R).advantages)[0]
    signs = np.array([1, -1])
    for k, gap in enumerate([1.5 - 0.63093, 0.5 - 0.63093, 0.5]):
        expected = signs * gap / 2 / (abs(gap) / 2**0.5 + 1e-4)
        np.testing.assert_allclose(got[:, k], expected if k < 2 else [expected[0], 0], atol=1e-4)


def test_own_rewards_alone():
    got = turns.of_turns(turns.credit(RankGRPO(kl_coef=0.0, gain=listing.own), CUT, R).advantages)[0]
    np.testing.assert_allclose(got, [[0.7070, -0.7070, 0.7070], [-0.7070, 0.7070, 0]], atol=1e-4)


def test_stop_tokens_have_advantages_of_their_own():
    got = np.asarray(turns.credit(FREE, LISTS, R).advantages)
    assert got[0, 0, -1] == np.float32(0.1)
    assert got[0, 1, 3] == np.float32(-0.1)


def test_ranks_weigh_alike_whatever_their_length():
    weights = turns.credit(FREE, CUT, R).token_weights
    np.testing.assert_allclose(weights[0, 0], np.full(6, 1 / 2 / 3 / 2), rtol=1e-6)
    np.testing.assert_allclose(weights[0, 1], [1 / 8] * 4 + [0, 0], rtol=1e-6)


def test_one_rank_is_gspos_ratio_with_grpos_advantage():
    rollout = turns.rollout([[[0], [0]]], rewards=[[[1.0], [0.0]]])
    rollout = dataclasses.replace(rollout, truncated=jnp.ones((1, 2), bool))
    rewards = jnp.asarray([[1.0, 0.0]])
    stats = policy(jnp.asarray([[[-0.1, -0.2], [-0.3, -0.15]]]))
    old = jnp.asarray([[[-0.12, -0.1], [-0.3, -0.25]]])
    rank, whole = RankGRPO(kl_coef=0.0), GSPO(clip_low=0.06, clip_high=0.08, eps=1e-4)
    results = []
    for recipe in (rank, whole):
        batch = dataclasses.replace(recipe.credit(rollout, rewards), old_logps=old)
        results.append(jax.value_and_grad(lambda p, r=recipe, b=batch: r.loss(p, b)[0])(stats))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8), *results)


def test_on_policy_a_rank_pushes_by_the_mean_of_its_tokens():
    batch = turns.credit(FREE, CUT, R)
    stats = policy(jnp.full((1, 2, 6), -0.5))
    gradient = jax.grad(lambda logps: FREE.loss(policy(logps), batch)[0])(stats.logps)
    np.testing.assert_allclose(gradient, -batch.token_weights * batch.advantages, atol=1e-7)


def test_without_segments_or_reference_it_says_so():
    with pytest.raises(ValueError, match="Segmented"):
        turns.credit(FREE, dataclasses.replace(LISTS, segments=None), R)
    with pytest.raises(ValueError, match="ref_logps"):
        RankGRPO().loss(policy(jnp.zeros((1, 2, 6))), RankGRPO().credit(LISTS, R))
