import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import surrogate
from posttrain_jax.recipes.policy.vespo import VESPO

PLAIN = VESPO(ddof=0, eps=0.0)
BATCH = dataclasses.replace(PLAIN.credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)


def multipliers():
    """Of the four completions, whose log-ratios sum to 0.3, 0.2, -0.2 and 0.6; the second and third are bad."""
    good = lambda x: np.exp(2 * x + 3 * (1 - np.exp(x)))  # noqa: E731
    bad = lambda x: np.exp(3 * x + 2 * (1 - np.exp(x)))  # noqa: E731
    return np.array([good(0.3), bad(0.2), bad(-0.2), good(0.6)])


def test_loss_by_hand():
    value, metrics = PLAIN.loss(fx.POLICY, BATCH)
    np.testing.assert_allclose(metrics["multiplier"][0, :, 0], multipliers(), rtol=1e-5)
    np.testing.assert_allclose(value, np.sum(multipliers() * [3.2, -1.7, -2.9, 1.9]) / 9, rtol=1e-5)


def test_the_multiplier_is_not_differentiated():
    gradient = jax.grad(lambda policy: PLAIN.loss(policy, BATCH)[0])(fx.POLICY).logps
    expected = jnp.where(fx.MASK, jnp.array(multipliers() * [-1, 1, 1, -1])[None, :, None] / 9, 0)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_at_the_old_policy_nothing_is_weighed():
    _, metrics = PLAIN.loss(dataclasses.replace(fx.POLICY, logps=fx.OLD), BATCH)
    np.testing.assert_array_equal(metrics["multiplier"], 1)


def test_the_multiplier_peaks_where_it_should_and_vanishes_far_off():
    log_ratios = jnp.linspace(-3, 3, 601)[None, None, :]
    got = surrogate.gamma_shaped(log_ratios, power=2.0, rate=3.0)
    assert abs(float(jnp.exp(log_ratios[0, 0, got.argmax()])) - 2 / 3) < 0.01
    far = surrogate.gamma_shaped(jnp.array([[[-50.0, 50.0]]]), power=2.0, rate=3.0)
    np.testing.assert_allclose(far, 0, atol=1e-12)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="good_power"):
        VESPO(good_power=0.0)
