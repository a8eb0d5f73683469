"""Penalties and multipliers: worked numbers, and the constrained optimum that each rule finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import constraint, multiplier

RULES = [
    multiplier.DualAscent(0.005),
    multiplier.LogDualAscent(0.005),
    multiplier.Augmented(0.1),
    multiplier.Equality(0.1),
    multiplier.Hinge(100.0),
    multiplier.Barrier(50.0),
]


def at(rule, g, start):
    """Penalty, pressure and next multiplier."""
    g, start = jnp.float32(g), jnp.float32(start)
    return [float(x) for x in (rule.penalty(g, start), multiplier.pressure(rule, g, start), rule.update(g, start))]


def test_worked_numbers():
    """lambda .5, c 1: g .2 adds .12 and goes to .7; g -1 adds -.125 and goes to 0."""
    np.testing.assert_allclose(at(multiplier.Augmented(1.0), 0.2, 0.5), [0.12, 0.7, 0.7], rtol=1e-6)
    np.testing.assert_allclose(at(multiplier.Augmented(1.0), -1.0, 0.5), [-0.125, 0.0, 0.0], atol=1e-7)
    np.testing.assert_allclose(at(multiplier.DualAscent(0.1), 0.2, 0.5), [0.1, 0.5, 0.52], rtol=1e-6)
    np.testing.assert_allclose(at(multiplier.DualAscent(1.0), -0.8, 0.5), [-0.4, 0.5, 0.0], rtol=1e-6)
    np.testing.assert_allclose(at(multiplier.LogDualAscent(1.0), 0.2, 0.5), [0.1, 0.5, 0.5 * np.exp(0.2)], rtol=1e-6)
    np.testing.assert_allclose(at(multiplier.Equality(2.0), -0.5, 0.25), [0.125, -0.75, -0.75], rtol=1e-6)
    np.testing.assert_allclose(at(multiplier.Hinge(3.0), 0.5, 0.0), [0.75, 3.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(at(multiplier.Hinge(3.0), -0.5, 0.0), [0.0, 0.0, 0.0])


def test_the_barrier_of_c_morl():
    """J = 1, start 1, b .9, t 20: -log(.1) / 20 = .115129; and beyond the floor its tangent goes on."""
    barrier = multiplier.Barrier(20.0, floor=1e-3)
    np.testing.assert_allclose(at(barrier, -0.1, 0.0)[:2], [0.115129, 0.5], atol=1e-6)
    np.testing.assert_allclose(at(barrier, -1e-3, 0.0)[1], 50.0, rtol=1e-5)
    np.testing.assert_allclose(at(barrier, 0.1, 0.0)[:2], [-np.log(1e-3) / 20 + 0.101 * 50, 50.0], rtol=1e-5)


def test_the_hinge_is_twice_that_of_disco():
    at_excess = constraint.squared_excess(jnp.float32(0.3), limit=0.1, coef=6.0)
    np.testing.assert_allclose(multiplier.Hinge(3.0).penalty(jnp.float32(0.2), jnp.float32(0)), at_excess, rtol=1e-5)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_each_finds_the_optimum_under_the_limit(rule):
    """min (x - 3)^2 / 2 with x <= 1 has x = 1 and lambda = 2; penalties without multiplier come near it."""

    def step(carry, _):
        x, multipliers = carry
        push = multiplier.pressure(rule, x - 1, multipliers)
        return (x - 0.005 * (x - 3 + push), rule.update(x - 1, multipliers)), push

    start = jnp.zeros(1), jnp.full(1, rule.start)
    (x, _), pushes = jax.jit(lambda s: jax.lax.scan(step, s, None, length=10000))(start)
    np.testing.assert_allclose(x, 1.0, atol=0.03)
    np.testing.assert_allclose(pushes[-1], 2.0, atol=0.05)


def test_a_pressure_has_no_gradient_and_limits_do_not_see_one_another():
    rule = multiplier.Augmented(1.0)
    pressures = multiplier.pressure(rule, jnp.array([0.2, -1.0]), jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(pressures, [0.7, 0.0], atol=1e-7)
    gradient = jax.grad(lambda g: jnp.sum(multiplier.pressure(rule, g, jnp.ones(2))))(jnp.ones(2))
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: multiplier.DualAscent(0.0), "rate"),
        (lambda: multiplier.LogDualAscent(1.0, start=0.0), "start"),
        (lambda: multiplier.Augmented(-1.0), "stiffness"),
        (lambda: multiplier.Equality(0.0), "stiffness"),
        (lambda: multiplier.Hinge(0.0), "weight"),
        (lambda: multiplier.Barrier(floor=0.0), "floor"),
    ],
)
def test_what_holds_nothing_back_is_refused(make, name):
    with pytest.raises(ValueError, match=f"{name}=.*above 0"):
        make()
