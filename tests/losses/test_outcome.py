import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import outcome

MASK = jnp.array([[[1, 1, 0], [1, 1, 1], [0, 0, 0], [1, 0, 1]]], bool)


def test_scores_are_read_at_the_last_counted_token():
    tokens = jnp.arange(12.0).reshape(1, 4, 3, 1)
    np.testing.assert_array_equal(outcome.at_end(tokens, MASK)[0, :, 0], [1, 5, 0, 11])
    gradient = jax.grad(lambda x: jnp.sum(outcome.at_end(x, MASK)))(tokens)
    np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 0, 1]])
    values = jnp.arange(8.0).reshape(1, 4, 2)
    there = outcome.at_end(outcome.placed(values, MASK), MASK)
    np.testing.assert_array_equal(there, values * jnp.array([1, 1, 0, 1.0])[None, :, None])


def test_centring_and_combining():
    assert float(outcome.uncentred(jnp.array(1.2), jnp.array(0.4))) == pytest.approx(2.56)
    rewards, gates = jnp.array([[1.0, 3.0]]), jnp.array([[0.0, jnp.log(3.0)]])
    np.testing.assert_allclose(outcome.gate(gates), [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(outcome.combined(rewards, outcome.gate(gates)), [2.5], rtol=1e-6)


def test_the_least_cross_entropy_of_a_soft_target_is_its_entropy():
    q = jnp.array([0.3])
    at = jnp.log(q / (1 - q))
    entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7))
    np.testing.assert_allclose(outcome.cross_entropy(at, q), [entropy], rtol=1e-6)
    slope = jax.grad(lambda z: jnp.sum(outcome.cross_entropy(z, q)))
    np.testing.assert_allclose(slope(at), [0], atol=1e-6)
    np.testing.assert_allclose(slope(jnp.zeros(1)), [0.2], atol=1e-6)  # sigmoid(z) - q
    np.testing.assert_allclose(
        outcome.cross_entropy(jnp.array([-80.0, 80.0]), jnp.array([1.0, 1.0])), [80, 0], atol=1e-30
    )
