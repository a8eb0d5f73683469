import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import advantage, demonstration

REWARDS = jnp.array([[1.0, 0, 0.5, 0.5, 1.0]])
OWN = jnp.array([[True, True, True, True, False]])
IDS = jnp.array([3])


def test_worked_group():
    among_own = demonstration.zscore_among(REWARDS, OWN, IDS, eps=0.0)
    np.testing.assert_allclose(among_own, [[1.414214, -1.414214, 0, 0, 1.414214]], atol=1e-6)
    among_all = demonstration.zscore_among(REWARDS, OWN | True, IDS, eps=0.0)
    np.testing.assert_allclose(jnp.sum(among_all), 0, atol=1e-6)


def test_among_all_it_is_the_zscore():
    rewards = jnp.array([[1.0, jnp.nan, 0.5], [0.1, 0.2, 0.3], [0.9, 0.0, 0.7]])
    ids = jnp.array([4, 9, 4])
    got = demonstration.zscore_among(rewards, jnp.ones((3, 3), bool), ids)
    np.testing.assert_allclose(got, advantage.group_zscore(rewards, ids, ddof=0), rtol=1e-5)


def test_without_spread_there_is_no_standing():
    rewards = jnp.array([[0.1, 0.1, 0.1, 0.1, 0.7]])
    np.testing.assert_array_equal(demonstration.zscore_among(rewards, OWN, IDS), 0)
    np.testing.assert_array_equal(demonstration.zscore_among(rewards * jnp.nan, OWN, IDS), 0)
