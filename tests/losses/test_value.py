import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import value

VALUES = jnp.array([[[0.3, 0.9, 0.6]]])
OLD = jnp.array([[[0.2, 0.5, 0.6]]])
RETURNS = jnp.array([[[0.956, 0.98, 1.0]]])


def test_worked_loss():
    np.testing.assert_allclose(jnp.mean(value.clipped(VALUES, OLD, RETURNS)), 0.111456, atol=1e-6)


def test_a_wide_clip_is_half_the_squared_error():
    np.testing.assert_allclose(value.clipped(VALUES, OLD, RETURNS, clip=10.0), (VALUES - RETURNS) ** 2 / 2, rtol=1e-6)


def test_values_that_have_moved_far_enough_rest_and_only_values_are_differentiated():
    gradients = jax.grad(lambda *x: value.clipped(*x).sum(), argnums=(0, 1, 2))(VALUES, OLD, RETURNS)
    np.testing.assert_allclose(gradients[0], [[[-0.656, 0, -0.4]]], atol=1e-6)
    np.testing.assert_array_equal(gradients[1], 0)
    np.testing.assert_array_equal(gradients[2], 0)
