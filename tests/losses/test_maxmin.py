"""The worst of several rewards: the worked numbers and the limits of the rate."""

import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import maxmin

EACH = jnp.array([[[1.0, -1.0], [-0.5, 2.0]]])
"""r_1 = [1, -.5], r_2 = [-1, 2]: means .25 and .5."""
EQUAL = jnp.log(jnp.full(2, 0.5))


def test_worked_rewards():
    np.testing.assert_allclose(maxmin.WorstOfEach()(EACH, EQUAL)[0], [[-1.0, -0.5]])
    rewards, weights = maxmin.WorstOfBatch()(EACH, EQUAL)
    np.testing.assert_allclose(rewards, [[1.0, -0.5]])
    np.testing.assert_allclose(jnp.exp(weights), [1.0, 0.0])


def test_worked_weights():
    """Means .3, -.1, .7 at rate .5."""
    each = jnp.array([[[0.3, -0.1, 0.7], [0.3, -0.1, 0.7]]])
    rewards, weights = maxmin.Weighted(0.5)(each, jnp.log(jnp.full(3, 1 / 3)))
    np.testing.assert_allclose(jnp.exp(weights), [0.328933, 0.401760, 0.269307], atol=1e-6)
    np.testing.assert_allclose(rewards[0], 0.3 * 0.328933 - 0.1 * 0.401760 + 0.7 * 0.269307, atol=1e-6)


def test_the_ends_of_the_rate():
    equal, _ = maxmin.Weighted(0.0)(EACH, EQUAL)
    np.testing.assert_allclose(equal, jnp.mean(EACH, axis=-1))
    hard, _ = maxmin.Weighted(1e4)(EACH, EQUAL)
    np.testing.assert_allclose(hard, maxmin.WorstOfBatch()(EACH, EQUAL)[0], atol=1e-6)


def test_the_worst_of_each_is_at_most_the_worst_of_the_batch():
    each = jnp.asarray(np.random.default_rng(0).normal(size=(50, 4, 3)), jnp.float32)
    for part in each:
        low, high = (rule(part[None], jnp.zeros(3))[0].mean() for rule in (maxmin.WorstOfEach(), maxmin.WorstOfBatch()))
        assert low <= high + 1e-6


@pytest.mark.parametrize("rule", [maxmin.WorstOfEach(), maxmin.WorstOfBatch(), maxmin.Weighted(1.0)], ids=repr)
def test_completions_without_all_rewards_have_none(rule):
    rewards, weights = rule(EACH.at[0, 1, 0].set(jnp.nan), EQUAL)
    np.testing.assert_array_equal(jnp.isnan(rewards), [[False, True]])
    assert not jnp.isnan(weights).any()


@pytest.mark.parametrize("rule", [maxmin.WorstOfEach(), maxmin.WorstOfBatch(), maxmin.Weighted(1.0)], ids=repr)
def test_equal_rewards_are_that_reward(rule):
    same = jnp.broadcast_to(EACH[..., :1], EACH.shape)
    np.testing.assert_allclose(rule(same, EQUAL)[0], EACH[..., 0], rtol=1e-6)


def test_a_rate_that_favours_the_best_is_refused():
    with pytest.raises(ValueError, match="rate=-1"):
        maxmin.Weighted(-1.0)
