import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import ratio, surrogate, weight

PPO = functools.partial(surrogate.clipped, low=0.2, high=0.2)
DAPO = functools.partial(surrogate.clipped, low=0.2, high=0.28)
RATIOS = jnp.array([[[0.5, 0.9, 1, 1.1, 1.25, 5]]], jnp.float32)


def reinforce(log_ratios, advantages):
    return surrogate.reinforce(log_ratios, advantages)  # the log-probability differs from the log-ratio by a constant


def kappas(function, sign):
    """-(d loss / d log pi) / A, at every ratio of RATIOS."""
    advantages = jnp.full_like(RATIOS, sign)
    return -jax.grad(lambda log_ratios: function(log_ratios, advantages).sum())(jnp.log(RATIOS))[0, 0] / sign


@pytest.mark.parametrize(
    ("function", "positive", "negative"),
    [
        (reinforce, [1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]),
        (surrogate.importance_weighted, [0.5, 0.9, 1, 1.1, 1.25, 5], [0.5, 0.9, 1, 1.1, 1.25, 5]),
        (PPO, [0.5, 0.9, 1, 1.1, 0, 0], [0, 0.9, 1, 1.1, 1.25, 5]),
        (DAPO, [0.5, 0.9, 1, 1.1, 1.25, 0], [0, 0.9, 1, 1.1, 1.25, 5]),
    ],
)
def test_gradient_multipliers(function, positive, negative):
    np.testing.assert_allclose(kappas(function, 1.0), np.array(positive), rtol=2e-6)
    np.testing.assert_allclose(kappas(function, -1.0), np.array(negative), rtol=2e-6)


@pytest.mark.parametrize(
    ("function", "weigh", "expected"),
    [
        (PPO, weight.token_mean, 0.118454563),
        (PPO, weight.sequence_mean, -0.017213402),
        (PPO, weight.sequence_sum, 0.266522777),
        (PPO, functools.partial(weight.fixed_length, length=3), 0.088840922),
        (DAPO, weight.token_mean, 0.100676785),
    ],
)
def test_worked_losses(function, weigh, expected):
    loss = jnp.sum(weigh(fx.MASK) * function(fx.LOG_RATIO, fx.ADVANTAGES))
    np.testing.assert_allclose(loss, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "weigh", "log_ratio", "expected"),
    [
        (
            PPO,
            weight.sequence_mean,
            lambda log_ratios: log_ratios,
            [[-0.092098, -0.068228, 0], [0.168732, 0.113105, 0], [0, 0.087606, 0.107002], [0, 0, 0]],
        ),
        (
            DAPO,
            weight.token_mean,
            lambda log_ratios: log_ratios,
            [[-0.122797, -0.09097, 0], [0.149984, 0.100537, 0], [0, 0.116808, 0.142669], [0, 0, 0]],
        ),
        (
            PPO,
            weight.sequence_mean,
            lambda log_ratios: ratio.sequence_mean(log_ratios, fx.MASK),  # GSPO
            [[-0.092098] * 3, [0.138146, 0.138146, 0], [0.077959] * 3, [0, 0, 0]],
        ),
    ],
)
def test_worked_gradients(function, weigh, log_ratio, expected):
    def loss(logps):
        return jnp.sum(weigh(fx.MASK) * function(log_ratio(ratio.token(logps, fx.OLD)), fx.ADVANTAGES))

    np.testing.assert_allclose(jax.grad(loss)(fx.LOGPS)[0], np.array(expected), atol=2e-6)


def test_worked_loss_of_gspo():
    losses = PPO(ratio.sequence_mean(fx.LOG_RATIO, fx.MASK), fx.ADVANTAGES)
    np.testing.assert_allclose(jnp.sum(weight.sequence_mean(fx.MASK) * losses), -0.066123254, atol=1e-6)


def test_one_token_makes_grpo_and_gspo_equal():
    log_ratios, advantages = fx.LOG_RATIO[:, :, :1], fx.ADVANTAGES[:, :, :1]
    np.testing.assert_array_equal(
        PPO(log_ratios, advantages), PPO(ratio.sequence_mean(log_ratios, fx.MASK[:, :, :1]), advantages)
    )


@pytest.mark.parametrize("function", [PPO, DAPO, surrogate.importance_weighted])
@pytest.mark.parametrize("granularity", [lambda log_ratios, mask: log_ratios, ratio.sequence_mean, ratio.sequence_sum])
def test_on_policy_every_gradient_is_that_of_reinforce(function, granularity):
    def loss(logps, surrogate_losses):
        return jnp.sum(weight.sequence_mean(fx.MASK) * surrogate_losses(logps))

    got = jax.grad(loss)(fx.LOGPS, lambda x: function(granularity(ratio.token(x, None), fx.MASK), fx.ADVANTAGES))
    expected = jax.grad(loss)(fx.LOGPS, lambda x: surrogate.reinforce(x, fx.ADVANTAGES))
    if granularity is ratio.sequence_sum:  # every token carries the whole completion: n_i times the gradient
        expected *= jnp.sum(fx.MASK, axis=-1, keepdims=True).astype(jnp.float32)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_clip_fraction_marks_exactly_the_tokens_without_gradient():
    gradients = jax.grad(lambda log_ratios: DAPO(log_ratios, fx.ADVANTAGES).sum())(fx.LOG_RATIO)
    cut = surrogate.clip_fraction(fx.LOG_RATIO, fx.ADVANTAGES, low=0.2, high=0.28)
    np.testing.assert_array_equal(cut == 1, (gradients == 0) & fx.MASK)
    assert cut.sum() == 3


def test_bounds_may_differ_from_token_to_token():
    high = jnp.where(jnp.arange(3)[None, None, :] == 2, 0.6, 0.2) * jnp.ones_like(fx.LOG_RATIO)
    losses = surrogate.clipped(fx.LOG_RATIO, fx.ADVANTAGES, low=0.2, high=high)
    np.testing.assert_allclose(losses[0, 0, 2], -np.exp(0.4), rtol=1e-6)
    np.testing.assert_allclose(losses[0, 3, 0], -1.2, rtol=1e-6)


@pytest.mark.parametrize("function", [PPO, surrogate.importance_weighted])
def test_far_off_ratios_stay_finite(function):
    log_ratios = jnp.array([[[50.0, -50.0, 1000.0, -1000.0]]])
    for sign in (1.0, -1.0):
        value, gradient = jax.value_and_grad(lambda log_ratios, a: function(log_ratios, a).sum())(
            log_ratios, jnp.full_like(log_ratios, sign)
        )
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.2), (1.0, 0.2), (-0.1, 0.2), (0.2, 0.0), (0.2, float("nan"))])
def test_meaningless_ranges_are_refused(low, high):
    with pytest.raises(ValueError, match="clip_"):
        surrogate.check_range(low=low, high=high)
