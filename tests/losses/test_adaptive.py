"""Adaptive KL: the worked number, its limits and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import adaptive, divergence, generator

TEACHER, UNIFORM = jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1])), jnp.log(jnp.full(4, 0.25))


def test_the_worked_number():
    np.testing.assert_allclose(adaptive.head_share(UNIFORM, TEACHER), 0.375, rtol=1e-6)
    np.testing.assert_allclose(adaptive.adaptive_kl(UNIFORM, TEACHER), 0.116026, atol=1e-6)


def test_the_order_of_the_vocabulary_does_not_matter():
    order = jnp.array([2, 0, 3, 1])
    np.testing.assert_allclose(adaptive.head_share(UNIFORM[order], TEACHER[order]), 0.375, rtol=1e-6)


def test_where_only_the_head_is_missed_it_is_the_forward_kl():
    student = jnp.log(jnp.array([0.3, 0.4, 0.2, 0.1]))
    found = adaptive.adaptive_kl(student, TEACHER, mass=0.75)
    np.testing.assert_allclose(found, divergence.exact(generator.ForwardKL(), student, TEACHER), rtol=1e-5)


def test_the_same_distribution_is_at_rest():
    np.testing.assert_array_equal(adaptive.head_share(TEACHER, TEACHER), 0.5)
    value, gradient = jax.value_and_grad(lambda x: adaptive.adaptive_kl(jax.nn.log_softmax(x), TEACHER))(TEACHER)
    np.testing.assert_allclose(value, 0, atol=1e-7)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_the_weight_has_no_gradient():
    def fixed(x):
        p = jax.nn.log_softmax(x)
        forward = divergence.exact(generator.ForwardKL(), p, TEACHER)
        return 0.375 * forward + 0.625 * divergence.exact(generator.ReverseKL(), p, TEACHER)

    got = jax.grad(lambda x: adaptive.adaptive_kl(jax.nn.log_softmax(x), TEACHER))(UNIFORM)
    np.testing.assert_allclose(got, jax.grad(fixed)(UNIFORM), atol=1e-6)
