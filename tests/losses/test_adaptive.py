"""Adaptive KL: the worked number, the head against sorting, its limits and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import adaptive, divergence, generator, tail

TEACHER, UNIFORM = jnp.log(jnp.array([0.4, 0.3, 0.2, 0.1])), jnp.log(jnp.full(4, 0.25))


def total(x):
    return jnp.sum(x, axis=-1)


def exact(student, teacher=TEACHER, mass=0.5):
    return divergence.exact(adaptive.AKL(mass), student, teacher)


def test_the_worked_number():
    np.testing.assert_allclose(adaptive.AKL().look(UNIFORM, TEACHER, total), 0.375, rtol=1e-6)
    np.testing.assert_allclose(exact(UNIFORM), 0.116026, atol=1e-6)


def test_the_order_of_the_vocabulary_does_not_matter():
    order = jnp.array([2, 0, 3, 1])
    np.testing.assert_allclose(adaptive.AKL().look(UNIFORM[order], TEACHER[order], total), 0.375, rtol=1e-6)


def by_sorting(log_q, mass):
    """Of the paper: sorted, added up, and the first in any case."""
    order = np.argsort(-log_q)
    kept = np.cumsum(np.exp(log_q[order].astype(np.float64))) <= mass
    kept[0] = True
    return np.isin(np.arange(len(log_q)), order[kept])


def test_the_head_is_that_of_sorting():
    """Sure and unsure teachers, over 5 and 300 entries; and where entries can not occur."""
    rng = np.random.default_rng(0)
    for size in (5, 300):
        logits = (rng.normal(size=(24, size)) * rng.uniform(0.05, 6, (24, 1))).astype(np.float32)
        logits[::3, 1] = -1e30
        log_q = np.asarray(jax.nn.log_softmax(jnp.asarray(logits)))
        for mass in (0.1, 0.5, 0.9):
            found = adaptive.in_head(jnp.asarray(log_q), mass, total)
            expected = np.stack([by_sorting(one, mass) for one in log_q])
            np.testing.assert_array_equal(found, expected)
    assert 1 < expected.sum(1).max() < 300


def test_equal_entries_are_in_the_head_together():
    """Of .2, .2, .2, .2, .1, .1 a head of .5 could hold two of the four: it holds none but as the likeliest, all."""
    log_q = jnp.log(jnp.array([0.2, 0.2, 0.2, 0.2, 0.1, 0.1]))
    np.testing.assert_array_equal(adaptive.in_head(log_q, 0.5, total), [1, 1, 1, 1, 0, 0])
    log_q = jnp.log(jnp.array([0.1, 0.3, 0.2, 0.2, 0.2]))
    np.testing.assert_array_equal(adaptive.in_head(log_q, 0.6, total), [0, 1, 0, 0, 0])


def test_where_only_the_head_is_missed_it_is_the_forward_kl():
    student = jnp.log(jnp.array([0.3, 0.4, 0.2, 0.1]))
    expected = divergence.exact(generator.ForwardKL(), student, TEACHER)
    np.testing.assert_allclose(exact(student, mass=0.75), expected, rtol=1e-5)


def test_the_same_distribution_is_at_rest():
    np.testing.assert_array_equal(adaptive.AKL().look(TEACHER, TEACHER, total), 0.5)
    value, gradient = jax.value_and_grad(lambda x: exact(jax.nn.log_softmax(x)))(TEACHER)
    np.testing.assert_allclose(value, 0, atol=1e-7)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_the_weight_has_no_gradient():
    def fixed(x):
        p = jax.nn.log_softmax(x)
        forward = divergence.exact(generator.ForwardKL(), p, TEACHER)
        return 0.375 * forward + 0.625 * divergence.exact(generator.ReverseKL(), p, TEACHER)

    got = jax.grad(lambda x: exact(jax.nn.log_softmax(x)))(UNIFORM)
    np.testing.assert_allclose(got, jax.grad(fixed)(UNIFORM), atol=1e-6)


def test_of_a_stored_teacher_with_all_entries_but_one_it_is_the_same():
    found = tail.Bucketed(adaptive.AKL())(UNIFORM[:3], TEACHER[:3])
    np.testing.assert_allclose(found, 0.116026, atol=1e-6)


@pytest.mark.parametrize("mass", [0.0, 1.0])
def test_a_head_of_nothing_or_of_all_is_refused(mass):
    with pytest.raises(ValueError, match=f"mass={mass} mixes nothing"):
        adaptive.AKL(mass)
