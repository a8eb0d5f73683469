import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import activation_mask

MASK = jnp.array([[[True, True, True, False], [True, False, False, False]]])


def test_by_hand():
    one = jnp.array([[[0.2, 0.5, 1.1, 7.0], [3.0, 0.0, 0.0, 0.0]]])
    np.testing.assert_allclose(activation_mask.rescaled(one, MASK), [[[0, 1 / 3, 1, 0], [1, 0, 0, 0]]], rtol=1e-6)
    layers = jnp.stack([one, -one])
    np.testing.assert_allclose(activation_mask.rescaled(layers, MASK)[0, 0], [0.5, 0.5, 0.5, 0], rtol=1e-6)


def test_affine_changes_and_gradients_are_nothing():
    one = jnp.array([[[0.2, 0.5, 1.1, 7.0], [3.0, 0.0, 0.0, 0.0]]])
    changed = activation_mask.rescaled(2 * one - 3, MASK)
    np.testing.assert_allclose(changed, activation_mask.rescaled(one, MASK), atol=1e-6)
    assert not jax.grad(lambda x: activation_mask.rescaled(x, MASK).sum())(one).any()
