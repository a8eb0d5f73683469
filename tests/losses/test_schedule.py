import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import schedule


def at(plan, *steps):
    return [float(plan(jnp.float32(step))) for step in steps]


def test_half_a_cosine():
    np.testing.assert_allclose(at(schedule.Cosine(0.9, 0.1, 100), 0, 50, 100, 150), [0.9, 0.5, 0.1, 0.1], rtol=1e-6)


def test_a_line():
    np.testing.assert_allclose(at(schedule.Linear(0.0, 2.0, 4), 0, 1, 4, 9), [0, 0.5, 2, 2], rtol=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.04, 0.1, [0.07, 0.055, 0.04, 0.07, 0.1, 0.1]), (0.0, 0.02, [0.01, 0.005, 0, 0.01, 0.02, 0.02])],
)
def test_down_and_up_again(low, high, expected):
    np.testing.assert_allclose(at(schedule.Valley(low, high, 30, 100), 0, 15, 30, 65, 100, 130), expected, atol=1e-8)


def test_the_step_is_traced():
    plan = jax.jit(schedule.Valley(0.0, 1.0, 1, 2))
    assert float(plan(jnp.float32(1))) == 0
    assert float(plan(jnp.float32(2))) == 1


def test_plans_without_steps_are_refused():
    with pytest.raises(ValueError, match="steps=0"):
        schedule.Cosine(0.0, 1.0, 0)
    with pytest.raises(ValueError, match="turn=3"):
        schedule.Valley(0.0, 1.0, 3, 3)
