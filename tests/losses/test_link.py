import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import link

U = jnp.float32(0.2)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (link.logistic(U), 0.598139),
        (link.logistic(U, label_noise=0.1), 0.618139),
        (link.squared(jnp.float32(2.0), target=5.0), 9.0),
        (link.squared(jnp.float32(1 / 5 + 1 / 7), target=5.0), 21.688980),
        (link.hinge(U), 0.8),
        (link.unbiased_logistic(U, label_noise=0.1), 0.573139),
        (link.reverse_kl(U, label_noise=1e-3), 2.422015),
        (link.logistic_to_exponential(U, temperature=0.05), 0.814763),
    ],
)
def test_canonical_pair(loss, expected):
    np.testing.assert_allclose(loss, expected, rtol=2e-6)


def test_no_margin_costs_ln_2():
    np.testing.assert_allclose(link.logistic(jnp.float32(0.0)), np.log(2), rtol=1e-6)


def test_noise_puts_the_optimum_at_finite_odds():
    gradient = jax.grad(lambda m: link.logistic(m, label_noise=0.1))
    np.testing.assert_allclose(gradient(jnp.float32(2.197225)), 0, atol=1e-6)
    np.testing.assert_allclose(gradient(U), 0.1 - 1 / (1 + np.exp(0.2)), rtol=1e-5)


def test_labels_that_say_nothing_are_symmetric():
    margins = jnp.array([-7.0, -0.2, 0.0, 0.2, 7.0])
    values, slopes = jax.vmap(jax.value_and_grad(lambda m: link.logistic(m, label_noise=0.5)))(margins)
    np.testing.assert_allclose(values, values[::-1], rtol=1e-6)
    np.testing.assert_allclose(slopes, np.tanh(margins / 2) / 2, rtol=1e-5, atol=1e-7)


def test_far_margins_stay_finite_with_the_right_slope():
    value, gradient = jax.vmap(jax.value_and_grad(link.logistic))(jnp.array([-1000.0, -50.0, 50.0, 1000.0]))
    np.testing.assert_allclose(value, [1000, 50, 0, 0], atol=1e-6)
    np.testing.assert_allclose(gradient, [-1, -1, 0, 0], atol=1e-6)


def test_unbiased_logistic_is_unbiased_under_flips():
    m = jnp.array([-3.0, 0.2, 5.0])
    mean = 0.7 * link.unbiased_logistic(m, label_noise=0.3) + 0.3 * link.unbiased_logistic(-m, label_noise=0.3)
    np.testing.assert_allclose(mean, link.logistic(m), rtol=1e-5)


def test_reverse_kl_is_zero_at_the_odds_of_the_label_alone():
    best = np.float32(np.log(9))
    values = link.reverse_kl(jnp.array([best - 0.1, best, best + 0.1]), label_noise=0.1)
    np.testing.assert_allclose(values[1], 0, atol=1e-6)
    assert (values[jnp.array([0, 2])] > 1e-4).all()


@pytest.mark.parametrize(
    "loss",
    [
        lambda m: link.unbiased_logistic(m, label_noise=0.1),
        lambda m: link.reverse_kl(m, label_noise=1e-3),
        lambda m: link.logistic_to_exponential(m, temperature=0.05),
    ],
)
def test_every_link_is_finite_far_out(loss):
    values, gradients = jax.vmap(jax.value_and_grad(loss))(jnp.array([-1000.0, -50.0, 50.0, 1000.0]))
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
