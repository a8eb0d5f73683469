import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import advantage
from posttrain_jax.recipes.policy.gdpo import GDPO
from posttrain_jax.recipes.policy.grpo import GRPO


def credit(recipe, rewards):
    """From rewards [1, G, K], named by their place."""
    columns = {str(k): rewards[..., k] for k in range(rewards.shape[-1])}
    return fx.informed(recipe, rewards[..., 0], columns=columns)[0]


ONE, TWO = (("0", 3.0),), (("0", 1.0), ("1", 1.0))


def test_mixtures_that_grpo_confuses_are_told_apart():
    """Of right and short, (1, 0) is rarer than (0, 1) here; their sums are equal."""
    both = jnp.array([[[1.0, 0], [0, 1], [0, 1], [0, 0]]])
    summed = advantage.group_zscore(both.sum(-1), fx.GROUP_IDS)
    assert summed[0, 0] == summed[0, 1]
    got = credit(GDPO(TWO, eps=0.0), both).advantages[0, :, 0]
    z = np.array([1.5, -0.5, -0.5, -0.5]) + np.array([-1, 1, 1, -1]) * np.sqrt(3) / 2
    np.testing.assert_allclose(got, z / z.std(ddof=1), atol=2e-6)
    assert got[0] > got[1]


def test_the_worked_example():
    rewards = jnp.array([[[1.0, 0], [1, 0], [0, 1], [0, 0]]])
    got = credit(GDPO(TWO), rewards).advantages[0, :, 0]
    np.testing.assert_allclose(got, [0.398089, 0.398089, 0.689442, -1.48562], atol=5e-6)
    summed = advantage.group_zscore(rewards.sum(-1), fx.GROUP_IDS, ddof=1, eps=1e-4)
    np.testing.assert_allclose(summed, [[0.4999, 0.4999, 0.4999, -1.4997]], atol=5e-6)
    scores = [advantage.group_zscore(rewards[..., k], fx.GROUP_IDS, ddof=1, eps=1e-4)[0] for k in (0, 1)]
    np.testing.assert_allclose(scores[0], [0.865875, 0.865875, -0.865875, -0.865875], atol=5e-6)
    np.testing.assert_allclose(scores[1], [-0.4999, -0.4999, 1.4997, -0.4999], atol=5e-6)
    np.testing.assert_allclose(scores[0] + scores[1], [0.365975, 0.365975, 0.633825, -1.365775], atol=5e-6)


def test_one_reward_of_one_prompt_is_grpo():
    """The batch's standardisation finds mean 0 and deviation 1."""
    plain = GRPO(kl_coef=0.0, eps=0.0)
    recipe = GDPO(ONE, eps=0.0)
    batches = credit(recipe, fx.REWARDS[:, :, None]), plain.credit(fx.ROLLOUT, fx.REWARDS)
    got, expected = (
        jax.value_and_grad(lambda p, b=b: plain.loss(p, dataclasses.replace(b, old_logps=fx.OLD))[0])(fx.POLICY)
        for b in batches
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, expected)


def test_completions_without_any_reward_do_not_count():
    rewards = jnp.array([[[1.0, jnp.nan], [0, 1], [jnp.nan, jnp.nan], [0, 0]]])
    batch = credit(GDPO(TWO), rewards)
    np.testing.assert_array_equal(batch.token_weights[0, 2], 0)
    np.testing.assert_array_equal(batch.advantages[0, 2], 0)
    np.testing.assert_allclose(batch.token_weights.sum(), 1, rtol=1e-6)


def test_rewards_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="to weigh 1; the rewards are 0"):
        credit(GDPO(TWO), jnp.zeros((1, 4, 1)))
