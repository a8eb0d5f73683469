import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax import masked

X = jnp.array([[1.0, 2.0, jnp.nan], [4.0, 8.0, 6.0]])
MASK = jnp.array([[True, True, False], [True, False, True]])
STATISTICS = [masked.total, masked.mean, masked.variance]


@pytest.mark.parametrize(
    ("statistic", "axis", "expected"),
    [
        (masked.total, None, 13.0),
        (masked.total, 1, [3.0, 10.0]),
        (masked.mean, None, 3.25),
        (masked.mean, 1, [1.5, 5.0]),
        (masked.mean, 0, [2.5, 2.0, 6.0]),
        (masked.mean, (0, 1), 3.25),
        (masked.variance, None, 3.6875),
        (masked.variance, 1, [0.25, 1.0]),
    ],
)
def test_counts_only_what_the_mask_lets_through(statistic, axis, expected):
    np.testing.assert_allclose(statistic(X, MASK, axis), np.array(expected), rtol=1e-6)


def test_variance_divides_by_count_less_ddof():
    np.testing.assert_allclose(masked.variance(X, MASK, ddof=1), np.var([1, 2, 4, 6], ddof=1), rtol=1e-6)
    one = jnp.array([True, False, False])
    assert masked.variance(jnp.arange(3.0), one, ddof=1) == 0


def test_variance_is_two_pass():
    x = jnp.array([10000.0, 10001.0, 10002.0])
    np.testing.assert_allclose(masked.variance(x, jnp.ones(3, bool)), 2 / 3, rtol=1e-6)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_nothing_left_gives_zero_in_value_and_gradient(statistic):
    nothing = jnp.zeros_like(MASK)
    value, gradient = jax.value_and_grad(statistic)(X, nothing)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(X.shape))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_masked_nan_reaches_no_gradient(statistic):
    gradient = jax.grad(statistic)(X, MASK)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[~MASK], 0)


def test_gradient_of_mean_and_variance():
    np.testing.assert_allclose(jax.grad(masked.mean)(X, MASK)[MASK], 0.25)
    expected = 2 * (np.array([1, 2, 4, 6]) - 3.25) / 4
    np.testing.assert_allclose(jax.grad(masked.variance)(X, MASK)[MASK], expected, rtol=1e-6)


def test_quantile_interpolates_over_what_counts():
    x = jnp.array([0.1, 0.9, 0.3, 0.05, 1.5, 0.2, 0, 0.7, 0.4, 0.6, jnp.nan, 9])
    mask = jnp.arange(12) < 10
    for q in (0.0, 0.25, 0.8, 1.0):
        np.testing.assert_allclose(masked.quantile(x, mask, q), np.quantile(x[:10], q), rtol=1e-6)
    assert masked.quantile(x, jnp.arange(12) == 3, 0.8) == x[3]
    assert masked.quantile(x, jnp.zeros(12, bool), 0.8) == jnp.inf
