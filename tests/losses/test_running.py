import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import running

X = jnp.array([1.0, 3.0, 100.0])
MASK = jnp.array([True, True, False])


def test_the_running_mean_is_the_mean_of_everything_seen():
    seen = running.zero_mean().update(X, MASK).update(jnp.array([8.0]), jnp.array([True]))
    np.testing.assert_allclose([seen.mean, seen.count], [4, 3])


def test_nothing_seen_changes_nothing():
    none = jnp.zeros(3, bool)
    seen = running.zero_mean().update(X, none)
    np.testing.assert_array_equal([seen.mean, seen.count], [0, 0])
    moved = running.MovingMoments(mean=jnp.float32(2), std=jnp.float32(1)).update(X, none, decay=0.9)
    np.testing.assert_array_equal([moved.mean, moved.std], [2, 1])


def test_moving_moments():
    moved = running.MovingMoments(mean=jnp.float32(1), std=jnp.float32(0)).update(X, MASK, decay=0.9)
    np.testing.assert_allclose([moved.mean, moved.std], [1.1, 0.1 * np.sqrt(2)], rtol=1e-6)
