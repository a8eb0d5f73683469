import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import embedding


def test_the_worked_number():
    assert float(embedding.preference(jnp.array([0.6, 0.8]), jnp.array([1.0, 0.0]))) == pytest.approx(-0.8)


def test_it_is_skew_symmetric_with_any_scales():
    first, second, gates = (jax.random.normal(jax.random.key(i), (5, n)) for i, n in enumerate((6, 6, 3)))
    scales = embedding.scales_of(gates, width=16)
    np.testing.assert_allclose(jnp.mean(scales, axis=-1), 1, rtol=1e-6)
    there, back = embedding.preference(first, second, scales), embedding.preference(second, first, scales)
    np.testing.assert_allclose(there, -back, atol=1e-6)
    np.testing.assert_allclose(embedding.preference(first, first, scales), 0, atol=1e-6)
    even = embedding.scales_of(jnp.zeros((5, 3)), width=16)
    np.testing.assert_allclose(
        embedding.preference(first, second, even), embedding.preference(first, second), atol=1e-6
    )


def test_a_constant_second_entry_is_bradley_and_terry():
    rewards = jnp.array([1.3, -0.2])
    v = jnp.stack([rewards, jnp.full(2, 2.5)], axis=-1)
    assert float(embedding.preference(v[0], v[1])) == pytest.approx(2.5 * 1.5, rel=1e-6)


def test_three_directions_run_in_a_circle():
    angles = jnp.array([0.0, 2, 4]) * math.pi / 3
    v = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    around = embedding.preference(v, jnp.roll(v, -1, axis=0))
    np.testing.assert_allclose(around, math.sqrt(3) / 2, rtol=1e-5)


def test_units_have_length_one_and_zero_a_finite_gradient():
    np.testing.assert_allclose(embedding.unit(jnp.array([3.0, 4.0])), [0.6, 0.8], rtol=1e-6)
    assert np.isfinite(jax.jacobian(embedding.unit)(jnp.zeros(2))).all()


def test_an_odd_embedding_is_refused():
    with pytest.raises(ValueError, match="an embedding of 3 numbers has no pairs to turn"):
        embedding.preference(jnp.zeros(3), jnp.zeros(3))
