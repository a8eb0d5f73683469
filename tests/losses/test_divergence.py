import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import divergence, generator, ratio, weight
from posttrain_jax.recipes.policy import grpo


def mean(values, weigh=weight.token_mean):
    return jnp.sum(weigh(fx.MASK) * values)


def test_worked_numbers():
    np.testing.assert_allclose(mean(divergence.k1_value(fx.LOGPS, fx.REF)), 0.05, atol=1e-6)
    np.testing.assert_allclose(mean(divergence.k2_loss(fx.LOGPS, fx.REF)), 0.051527778, atol=1e-6)
    np.testing.assert_allclose(mean(divergence.k3_loss(fx.LOGPS, fx.REF)), 0.051340888, atol=1e-6)
    k3 = mean(divergence.k3_loss(fx.LOGPS, fx.REF), weight.sequence_mean)
    np.testing.assert_allclose(k3, 0.050316155, atol=1e-6)


def test_gradients_are_those_the_names_promise():
    logps, ref = jnp.array([-1.0, -2.0]), jnp.array([-1.5, -1.0])
    d = ref - logps
    np.testing.assert_array_equal(jax.grad(lambda x: divergence.k1_value(x, ref).sum())(logps), 0)
    np.testing.assert_allclose(jax.grad(lambda x: divergence.k2_loss(x, ref).sum())(logps), -d, rtol=1e-6)
    np.testing.assert_allclose(jax.grad(lambda x: divergence.k3_loss(x, ref).sum())(logps), 1 - np.exp(d), rtol=1e-6)


def test_the_reference_is_not_differentiated():
    for estimator in (divergence.k1_value, divergence.k2_loss, divergence.k3_loss):
        gradient = jax.grad(lambda ref, f=estimator: f(fx.LOGPS, ref).sum())(fx.REF)
        np.testing.assert_array_equal(gradient, 0)


def test_equal_policies_have_no_divergence_and_no_gradient():
    for estimator in (divergence.k1_value, divergence.k2_loss, divergence.k3_loss):
        value, gradient = jax.value_and_grad(lambda x, f=estimator: f(x, fx.LOGPS).sum())(fx.LOGPS)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


def test_k3_is_accurate_near_zero_and_finite_far_off():
    np.testing.assert_allclose(divergence.k3_loss(jnp.float32(0.0), jnp.float32(1e-2)), 5.016708e-5, rtol=1e-3)
    value, gradient = jax.vmap(jax.value_and_grad(divergence.k3_loss))(jnp.array([-1e3, 50.0]), jnp.array([0.0, -50.0]))
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


def test_k1_and_k3_agree_in_expectation_with_the_exact_divergence():
    policy, ref = jnp.array([0.4, 0.4, 0.2]), jnp.array([0.5, 0.3, 0.2])
    for estimator in (divergence.k1_value, divergence.k3_loss):
        value = jnp.sum(policy * estimator(jnp.log(policy), jnp.log(ref)))
        np.testing.assert_allclose(value, 0.025815, atol=1e-6)


def test_both_directions_of_the_divergence_of_three_words():
    policy, ref = jnp.log(jnp.array([0.4, 0.4, 0.2])), jnp.log(jnp.array([0.5, 0.3, 0.2]))
    np.testing.assert_allclose(divergence.exact(generator.ReverseKL(), policy, ref), 0.025815, atol=1e-6)
    np.testing.assert_allclose(divergence.exact(generator.ForwardKL(), policy, ref), 0.025267, atol=1e-6)


REVERSE = generator.ReverseKL()


def test_k3_times_the_ratio():
    """FX; and its gradient is r (1 - e^d) + r k3 = -r d."""
    log_ratios = lambda logps: ratio.token(logps, fx.OLD)  # noqa: E731
    value = mean(divergence.sampled_loss(REVERSE, fx.LOGPS, fx.REF, log_ratios(fx.LOGPS)))
    np.testing.assert_allclose(value, 0.055360489, atol=1e-6)
    gradient = jax.grad(lambda x: divergence.sampled_loss(REVERSE, x, fx.REF, log_ratios(x)).sum())(fx.LOGPS)
    np.testing.assert_allclose(gradient, jnp.exp(fx.LOG_RATIO) * (fx.LOGPS - fx.REF), atol=1e-6)


def test_on_policy_the_sampled_reverse_divergence_has_the_value_of_k3_and_the_gradient_of_k2():
    k3, _ = jax.value_and_grad(lambda x: divergence.k3_loss(x, fx.REF).sum())(fx.LOGPS)
    _, by_k2 = jax.value_and_grad(lambda x: divergence.k2_loss(x, fx.REF).sum())(fx.LOGPS)
    for estimator in (
        lambda x: divergence.sampled_loss(REVERSE, x, fx.REF, ratio.token(x, None)),
        lambda x: divergence.sampled_loss(REVERSE, x, fx.REF),
    ):
        value, gradient = jax.value_and_grad(lambda x, f=estimator: f(x).sum())(fx.LOGPS)
        np.testing.assert_allclose(value, k3, rtol=1e-5)
        np.testing.assert_allclose(gradient, by_k2, atol=1e-6)


def test_absolute():
    logps, ref = jnp.array([-1.0, -2.0, -3.0]), jnp.array([-1.5, -1.0, -3.0])
    value, gradient = jax.value_and_grad(lambda x: divergence.absolute_loss(x, ref).sum())(logps)
    np.testing.assert_allclose(value, 1.5, rtol=1e-6)
    np.testing.assert_array_equal(gradient, [1, -1, 0])


@pytest.mark.parametrize("penalty", [divergence.k1_value, lambda logps, ref: logps - ref, lambda logps, ref: 0 * logps])
def test_k1_as_a_loss_is_refused_with_the_reason(penalty):
    with pytest.raises(ValueError, match="0 in expectation"):
        divergence.check_penalty(penalty)
    with pytest.raises(ValueError, match="0 in expectation"):
        grpo.GRPO(penalty=penalty)


def test_penalties_that_hold_are_taken():
    for penalty in (
        divergence.k2_loss,
        functools.partial(divergence.sampled_loss, generator.ReverseKL()),
    ):
        divergence.check_penalty(penalty)


LOGITS, FOUR_REF, FOUR_OLD = (
    jnp.array([0.5, -0.2, 0.1, -0.7]),
    jax.nn.log_softmax(jnp.array([0.0, 0.4, -0.3, 0.2])),
    jax.nn.log_softmax(jnp.array([0.2, 0.1, 0.0, -0.4])),
)
TO_REF = [0.169900, -0.136952, 0.086728, -0.119676]
FROM_REF = [0.180655, -0.133736, 0.105269, -0.152188]


def test_how_far_single_tokens_of_each_estimator_scatter():
    """k1 .5563, k2 .0636, k3 .1013 nats: standard deviations of tokens drawn from the policy."""
    logps = jax.nn.log_softmax(LOGITS)
    for estimator, expected in (
        (divergence.k1_value, 0.5563),
        (divergence.k2_loss, 0.0636),
        (divergence.k3_loss, 0.1013),
    ):
        values = estimator(logps, FOUR_REF)
        mean, square = (jnp.sum(jnp.exp(logps) * x) for x in (values, values**2))
        np.testing.assert_allclose(jnp.sqrt(square - mean**2), expected, atol=5e-5)


def on_average(estimator, sampler=None):
    """Value and gradient in the logits, tokens drawn from the policy or from another, held still."""

    def total(logits):
        logps = jax.nn.log_softmax(logits)
        weights = jax.lax.stop_gradient(jnp.exp(logps if sampler is None else sampler))
        return jnp.sum(weights * estimator(logps))

    return jax.value_and_grad(total)(LOGITS)


@pytest.mark.parametrize(
    ("estimator", "sampler", "value", "gradient"),
    [
        (lambda x: divergence.k2_loss(x, FOUR_REF), None, 0.1693867, TO_REF),
        (lambda x: divergence.k3_loss(x, FOUR_REF), None, 0.1710346, FROM_REF),
        (lambda x: divergence.sampled_loss(REVERSE, x, FOUR_REF), None, 0.1710346, TO_REF),
        (lambda x: divergence.k3_loss(x, FOUR_REF), FOUR_OLD, 0.186104, None),
        (lambda x: divergence.sampled_loss(REVERSE, x, FOUR_REF, x - FOUR_OLD), FOUR_OLD, 0.1710346, TO_REF),
        (
            lambda x: jax.lax.stop_gradient(jnp.exp(x - FOUR_OLD)) * divergence.k3_loss(x, FOUR_REF),
            FOUR_OLD,
            0.1710346,
            FROM_REF,
        ),
        (lambda x: jax.lax.stop_gradient(divergence.k1_value(x, FOUR_REF)) * x, None, None, TO_REF),
        (
            lambda x: jax.lax.stop_gradient(divergence.k3_loss(x, FOUR_REF)) * x,
            None,
            None,
            [-0.010755, -0.003216, -0.018541, 0.032512],
        ),
    ],
    ids=["k2", "k3", "straight_through", "k3_stale", "weighted", "weight_held", "k1_as_reward", "k3_as_reward"],
)
def test_four_tokens_worked_in_value_and_in_gradient(estimator, sampler, value, gradient):
    """KL(policy || ref) is .1710346, KL(ref || policy) .1786113; k3 as a reward has their difference for a gradient."""
    found = on_average(estimator, sampler)
    if value is not None:
        np.testing.assert_allclose(found[0], value, atol=2e-6)
    if gradient is not None:
        np.testing.assert_allclose(found[1], gradient, atol=2e-6)


def test_both_divergences_of_the_four_tokens():
    for one, value, gradient in ((REVERSE, 0.1710346, TO_REF), (generator.ForwardKL(), 0.1786113, FROM_REF)):
        exact = lambda x, one=one: divergence.exact(one, jax.nn.log_softmax(x), FOUR_REF)  # noqa: E731
        found = jax.value_and_grad(exact)(LOGITS)
        np.testing.assert_allclose(found[0], value, atol=1e-6)
        np.testing.assert_allclose(found[1], gradient, atol=1e-6)


def test_value_and_gradient_are_chosen_each_by_itself():
    """k3's value with k2's gradient is `sampled_loss` of the reverse KL; k1, which holds nothing, can be the value."""
    for value, expected in ((divergence.k3_loss, 0.1710346), (divergence.k1_value, 0.1710346)):
        found = on_average(lambda x, v=value: divergence.Combined(v, divergence.k2_loss)(x, FOUR_REF))
        np.testing.assert_allclose(found[0], expected, atol=2e-6)
        np.testing.assert_allclose(found[1], TO_REF, atol=2e-6)
    swapped = on_average(lambda x: divergence.Combined(divergence.k2_loss, divergence.k3_loss)(x, FOUR_REF))
    np.testing.assert_allclose(swapped[0], 0.1693867, atol=2e-6)
    np.testing.assert_allclose(swapped[1], FROM_REF, atol=2e-6)
    divergence.check_penalty(divergence.Combined(divergence.k1_value, divergence.k2_loss))
    with pytest.raises(ValueError, match="0 in expectation"):
        divergence.Combined(divergence.k3_loss, divergence.k1_value)
