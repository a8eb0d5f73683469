import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import ratio, surrogate, trust, weight

CENTERED = fx.ADVANTAGES / 2
RATIOS = jnp.array([[[0.3, 0.5, 0.8, 1.0, 1.2, 2.0, 3.5]]])


def inside(region, sign):
    return np.flatnonzero(region(jnp.log(RATIOS), jnp.full_like(RATIOS, sign)))


@pytest.mark.parametrize(
    ("region", "positive", "negative", "zero"),
    [
        (trust.Everywhere(), range(7), range(7), range(7)),
        (trust.OneSided(0.21, 0.21), range(5), range(2, 7), range(7)),
        (trust.TwoSided(0.21, 0.21), range(2, 5), range(2, 5), range(2, 5)),
        (trust.Ring(0.21, 0.21), [0, 2, 3, 4], [2, 3, 4, 6], [0, 2, 3, 4, 6]),
    ],
)
def test_who_may_push(region, positive, negative, zero):
    np.testing.assert_array_equal(inside(region, 1.0), [*positive])
    np.testing.assert_array_equal(inside(region, -1.0), [*negative])
    np.testing.assert_array_equal(inside(region, 0.0), [*zero])


@pytest.mark.parametrize(
    ("region", "power", "expected"),
    [
        (trust.Everywhere(), 0, 0.027777778),
        (trust.OneSided(), 0, -0.122222222),
        (trust.OneSided(), 1, -0.147059945),
        (trust.TwoSided(), 1, -0.027894651),
        (trust.Ring(), 0, -0.030555556),
    ],
)
def test_worked_losses(region, power, expected):
    kappa = jnp.where(region(fx.LOG_RATIO, CENTERED), ratio.exp(power * fx.LOG_RATIO), 0)
    loss = jnp.sum(weight.token_mean(fx.MASK) * surrogate.weighted(fx.LOGPS, CENTERED, kappa))
    np.testing.assert_allclose(loss, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("region", "arguments", "message"),
    [
        (trust.OneSided, {"low": 1.0}, "low=1.0"),
        (trust.TwoSided, {"high": 0.0}, "high=0.0"),
        (trust.Ring, {"far_low": 0.1}, "far_low=0.1"),
    ],
)
def test_meaningless_regions_are_refused(region, arguments, message):
    with pytest.raises(ValueError, match=message):
        region(**arguments)


def test_worked_bounds_around_a_probability():
    old = jnp.log(jnp.array([[[0.9, 0.5, 0.1, 0.01, 1e-30]]]))
    low, high = trust.around(old, low=0.16, high=0.2, cap=10.0)
    np.testing.assert_allclose(1 - low[0, 0], [0.768742, 0.5, 0.5, 0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(1 + high[0, 0], [1.187184, 1.306226, 2, 5, 10], atol=2e-6)


def test_bounds_close_with_epsilon_and_hold_the_step_in_probability():
    old = jnp.log(jnp.array([[[0.9, 0.3]]]))
    low, high = trust.around(old, low=1e-6, high=1e-6, cap=10.0)
    np.testing.assert_allclose(jnp.stack([low, high]), 0, atol=1e-5)
    low, high = trust.around(old, low=0.05, high=0.1, cap=10.0)
    q = jnp.exp(old)
    np.testing.assert_allclose(high * (1 + high) * q, 0.1, rtol=1e-5)
    np.testing.assert_allclose(low * (1 - low) * q, 0.05, rtol=1e-5)
