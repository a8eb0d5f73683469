import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import controller

ONE = jnp.float32(1.0)


@pytest.mark.parametrize(("measured", "factor"), [(6.0, 1.0), (6.6, 1.01), (60.0, 1.02), (0.0, 0.98), (5.4, 0.99)])
def test_proportional_by_hand(measured, factor):
    """Errors of 10 % move it by 1 %, larger ones than 20 % no further than 2 %."""
    got = controller.Proportional(target=6.0)(jnp.float32(0.5), jnp.float32(measured))
    np.testing.assert_allclose(got, 0.5 * factor, rtol=1e-6)


def test_steps_by_hand():
    rule = controller.Stepwise(target=0.2)
    np.testing.assert_allclose(rule(jnp.float32(0.01), jnp.float32(0.1)), 0.015, rtol=1e-6)
    np.testing.assert_allclose(rule(jnp.float32(0.01), jnp.float32(0.2)), 0.005, rtol=1e-6)
    assert rule(jnp.float32(0.001), jnp.float32(0.5)) == 0


def test_the_dual_rises_below_the_target():
    rule = controller.Dual(target=1.0, rate=0.5)
    np.testing.assert_allclose(rule(ONE, jnp.float32(0.0)), np.exp(0.5), rtol=1e-6)
    np.testing.assert_allclose(rule(ONE, jnp.float32(3.0)), np.exp(-1.0), rtol=1e-6)
    assert rule(ONE, ONE) == 1


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="target="):
        controller.Proportional(target=0.0)
    with pytest.raises(ValueError, match="gain x limit below 1"):
        controller.Proportional(target=1.0, gain=10.0)
    with pytest.raises(ValueError, match="step="):
        controller.Stepwise(target=1.0, step=0.0)
    with pytest.raises(ValueError, match="rate="):
        controller.Dual(target=1.0, rate=-1.0)
