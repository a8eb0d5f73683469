import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import ratio, surrogate, trust, weight

PPO = functools.partial(surrogate.clipped, low=0.2, high=0.2)
DAPO = functools.partial(surrogate.clipped, low=0.2, high=0.28)
DUAL = functools.partial(surrogate.dual_clipped, low=0.2, high=0.2, cap=3.0)
TWO_SIDED = functools.partial(surrogate.dual_clipped, low=0.2, high=0.2, cap=4.0)
SAPO = functools.partial(surrogate.soft_gated, positive=1.0, negative=1.05)
RATIOS = jnp.array([[[0.5, 0.9, 1, 1.1, 1.25, 5]]], jnp.float32)


def reinforce(log_ratios, advantages):
    return surrogate.reinforce(log_ratios, advantages)  # the log-probability differs from the log-ratio by a constant


def cispo(log_ratios, advantages):
    return surrogate.capped(log_ratios, log_ratios, advantages, cap=1.28)


def topr(log_ratios, advantages):
    return surrogate.tapered(log_ratios, log_ratios, advantages)


def rec(log_ratios, advantages):
    inside = trust.OneSided()(log_ratios, advantages).astype(jnp.float32)
    return surrogate.weighted(log_ratios, advantages, inside)


def rec_with_ratio(log_ratios, advantages):
    inside = trust.OneSided()(log_ratios, advantages).astype(jnp.float32)
    return surrogate.weighted(log_ratios, advantages, inside * ratio.exp(log_ratios))


def sapo_kappa(r, positive):
    s = jax.nn.sigmoid(jnp.where(positive, 1.0, 1.05) * (r - 1))
    return 4 * s * (1 - s) * r


KAPPAS = [
    (reinforce, lambda r, positive: jnp.ones_like(r)),
    (surrogate.importance_weighted, lambda r, positive: r),
    (PPO, lambda r, positive: jnp.where(jnp.where(positive, r <= 1.2, r >= 0.8), r, 0)),
    (DAPO, lambda r, positive: jnp.where(jnp.where(positive, r <= 1.28, r >= 0.8), r, 0)),
    (DUAL, lambda r, positive: jnp.where(jnp.where(positive, r <= 1.2, (r >= 0.8) & (r <= 3)), r, 0)),
    (TWO_SIDED, lambda r, positive: jnp.where(jnp.where(positive, r <= 1.2, (r >= 0.8) & (r <= 4)), r, 0)),
    (cispo, lambda r, positive: jnp.minimum(r, 1.28)),
    (SAPO, sapo_kappa),
    (rec, lambda r, positive: jnp.where(positive, r <= 1.2, r >= 0.8).astype(jnp.float32)),
    (rec_with_ratio, lambda r, positive: jnp.where(jnp.where(positive, r <= 1.2, r >= 0.8), r, 0)),
    (topr, lambda r, positive: jnp.where(positive, 1, jnp.minimum(r, 1))),
    (surrogate.boundary, lambda r, positive: jnp.where(positive, 1, r)),
]


@pytest.mark.parametrize(("function", "kappa"), KAPPAS)
def test_every_gradient_is_the_multiplier_times_the_advantage(function, kappa):
    keys = jax.random.split(jax.random.key(0))
    log_ratios = jax.random.normal(keys[0], (8, 8, 8))
    advantages = jax.random.normal(keys[1], (8, 8, 8))
    got = jax.grad(lambda x: function(x, advantages).sum())(log_ratios)
    expected = -kappa(jnp.exp(log_ratios), advantages > 0) * advantages
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=1e-5)


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
        (DUAL, [0.5, 0.9, 1, 1.1, 0, 0], [0, 0.9, 1, 1.1, 1.25, 0]),
        (TWO_SIDED, [0.5, 0.9, 1, 1.1, 0, 0], [0, 0.9, 1, 1.1, 1.25, 0]),
        (cispo, [0.5, 0.9, 1, 1.1, 1.25, 1.28], [0.5, 0.9, 1, 1.1, 1.25, 1.28]),
        (rec, [1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1]),
        (topr, [1, 1, 1, 1, 1, 1], [0.5, 0.9, 1, 1, 1, 1]),
        (surrogate.boundary, [1, 1, 1, 1, 1, 1], [0.5, 0.9, 1, 1.1, 1.25, 5]),
    ],
)
def test_gradient_multipliers(function, positive, negative):
    np.testing.assert_allclose(kappas(function, 1.0), np.array(positive), rtol=2e-6)
    np.testing.assert_allclose(kappas(function, -1.0), np.array(negative), rtol=2e-6)


def test_gradient_multipliers_of_the_soft_gate():
    np.testing.assert_allclose(kappas(SAPO, 1.0), [0.47, 0.8978, 1, 1.0973, 1.2307, 0.3533], atol=5e-5)
    np.testing.assert_allclose(kappas(SAPO, -1.0), [0.4671, 0.8975, 1, 1.097, 1.2287, 0.2911], atol=5e-5)


@pytest.mark.parametrize(("cap", "expected"), [(3.0, 3), (4.0, 4), (1e9, 5)])
def test_dual_clipping_at_ratio_five(cap, expected):
    log_ratios, down = jnp.log(jnp.full((1, 1, 1), 5.0)), jnp.full((1, 1, 1), -1.0)
    got = surrogate.dual_clipped(log_ratios, down, low=0.2, high=0.2, cap=cap)
    np.testing.assert_allclose(got, [[[expected]]], rtol=1e-6)
    up = surrogate.dual_clipped(log_ratios, -down, low=0.2, high=0.2, cap=cap)
    np.testing.assert_allclose(up, [[[-1.2]]], rtol=1e-6)


def test_the_capped_weight_is_not_differentiated():
    """A weight that is would double the gradient where nothing is capped, and cut it where it is."""
    by_logps, by_log_ratios = jax.grad(
        lambda logps, log_ratios: surrogate.capped(logps, log_ratios, fx.ADVANTAGES, cap=1.28).sum(), argnums=(0, 1)
    )(fx.LOGPS, fx.LOG_RATIO)
    np.testing.assert_allclose(by_logps, -jnp.minimum(jnp.exp(fx.LOG_RATIO), 1.28) * fx.ADVANTAGES, rtol=1e-6)
    np.testing.assert_array_equal(by_log_ratios, 0)


@pytest.mark.parametrize(
    ("function", "weigh", "expected"),
    [
        (PPO, weight.token_mean, 0.118454563),
        (PPO, weight.sequence_mean, -0.017213402),
        (PPO, weight.sequence_sum, 0.266522777),
        (PPO, functools.partial(weight.fixed_length, length=3), 0.088840922),
        (DAPO, weight.token_mean, 0.100676785),
        (PPO, weight.sequence_total, -0.068853607),
        (SAPO, weight.sequence_mean, -0.249377740),
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
        (
            surrogate.importance_weighted,
            weight.sequence_mean,
            lambda log_ratios: ratio.sequence_mean(  # GMPO
                ratio.one_sided(log_ratios, fx.ADVANTAGES, low=0.4, high=0.4), fx.MASK
            ),
            [[-0.092098] * 3, [0.138146, 0.138146, 0], [0, 0.080601, 0.080601], [0, 0, 0]],
        ),
        (
            SAPO,
            weight.sequence_mean,
            lambda log_ratios: log_ratios,
            [
                [-0.091843, -0.06767, -0.117094],
                [0.163165, 0.112823, 0],
                [0.048447, 0.087542, 0.104658],
                [-0.386467, 0, 0],
            ],
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


@pytest.mark.parametrize("function", [PPO, DAPO, DUAL, SAPO, surrogate.importance_weighted])
@pytest.mark.parametrize(
    "granularity", [ratio.per_token, ratio.sequence_mean, ratio.sequence_token, ratio.sequence_sum]
)
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


@pytest.mark.parametrize("function", [PPO, DUAL, SAPO, cispo, topr, rec, surrogate.importance_weighted])
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
