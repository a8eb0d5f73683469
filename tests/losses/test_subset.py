import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import advantage, subset

ONE = jnp.array([0])
REWARDS = np.array([0.3, 1.0, -0.5, 1.0, 0.0, 0.7])


def by_hand(rewards, k):
    """Over all subsets, one by one."""
    got = np.zeros(len(rewards))
    subsets = list(itertools.combinations(range(len(rewards)), k))
    for chosen in subsets:
        for i in chosen:
            got[i] += rewards[list(chosen)].max() - rewards[[j for j in chosen if j != i]].max()
    return got / len(subsets)


@pytest.mark.parametrize("k", [2, 3, 5, 6])
def test_all_subsets(k):
    got = subset.best_of_k(jnp.array(REWARDS[None], jnp.float32), ONE, k=k)
    np.testing.assert_allclose(got[0], by_hand(REWARDS, k), atol=1e-6)


def test_the_whole_group_is_its_best():
    rewards = jnp.array([[0.2, 0.9, 0.5, 0.4], [1.0, 0.0, 0.0, 1.0]])
    ids = jnp.array([3, 1])
    np.testing.assert_allclose(subset.best_of_k(rewards, ids, k=4), advantage.best_of_group(rewards, ids), atol=1e-6)


def test_rows_of_one_group_and_failed_rewards():
    rewards = jnp.array([[0.3, jnp.nan], [5.0, 6.0], [1.0, -0.5], [1.0, 0.0], [0.7, jnp.nan]])
    ids = jnp.array([9, -3, 9, 9, 9])
    got = subset.best_of_k(rewards, ids, k=3)
    members = got[jnp.array([0, 2, 3, 4])].reshape(-1)[jnp.array([0, 2, 3, 4, 5, 6])]
    np.testing.assert_allclose(members, by_hand(REWARDS, 3), atol=1e-6)
    np.testing.assert_array_equal(got[1], 0)  # two are fewer than three
    assert got[0, 1] == got[4, 1] == 0


@pytest.mark.parametrize("value", [0.1, 1e6])
def test_equal_rewards_give_exactly_nothing(value):
    np.testing.assert_array_equal(subset.best_of_k(jnp.full((2, 3), value), jnp.array([1, 1]), k=2), 0)


def test_no_gradient():
    gradient = jax.grad(lambda r: subset.best_of_k(r, ONE, k=2).sum())(jnp.array([[0.3, 1.0, 0.2]]))
    np.testing.assert_array_equal(gradient, 0)
