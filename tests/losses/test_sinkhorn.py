import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import sinkhorn

STUDENT = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]]))
TEACHER = jnp.log(jnp.array([[0.6, 0.3, 0.1], [0.1, 0.6, 0.3]]))


@pytest.mark.parametrize(("eps", "expected"), [(0.1, 0.401405), (1.0, 0.896041)])
def test_worked_numbers(eps, expected):
    np.testing.assert_allclose(sinkhorn.distance(STUDENT, TEACHER, eps=eps), expected, atol=1e-6)
    np.testing.assert_allclose(sinkhorn.distance(STUDENT, TEACHER[::-1], eps=eps), expected, atol=1e-6)


def test_one_row_is_the_l1_distance():
    np.testing.assert_allclose(sinkhorn.distance(STUDENT[:1], TEACHER[:1]), 0.2, rtol=1e-5)


def test_limits_of_the_entropy():
    costs = np.abs(np.exp(STUDENT)[:, None] - np.exp(TEACHER)[None]).sum(-1)
    np.testing.assert_allclose(sinkhorn.distance(STUDENT, TEACHER, eps=1e4), costs.sum() / 2, rtol=1e-3)
    best = min(costs[0, 0] + costs[1, 1], costs[0, 1] + costs[1, 0])
    np.testing.assert_allclose(sinkhorn.distance(STUDENT, TEACHER, eps=1e-3), best, rtol=1e-4)


def test_gradient_against_differences_and_none_to_the_teacher():
    logits = jnp.array([[0.3, -0.2, 0.5], [0.1, 0.9, -0.4]])
    loss = lambda x: sinkhorn.distance(jax.nn.log_softmax(x), TEACHER, eps=0.5)  # noqa: E731
    gradient = jax.grad(loss)(logits)
    step = 1e-2
    for place in np.ndindex(2, 3):
        move = jnp.zeros((2, 3)).at[place].set(step)
        np.testing.assert_allclose(gradient[place], (loss(logits + move) - loss(logits - move)) / (2 * step), atol=2e-4)
    assert not np.any(jax.grad(lambda x: sinkhorn.distance(STUDENT, jax.nn.log_softmax(x)))(logits))


def test_far_distributions_do_not_underflow():
    far = jnp.log(jnp.array([[1.0, 1e-30], [1e-30, 1.0]]))
    np.testing.assert_allclose(sinkhorn.distance(far[:1], far[1:], eps=0.01), 2.0, rtol=1e-5)


def test_nothing_to_iterate_is_refused():
    with pytest.raises(ValueError, match="eps=0"):
        sinkhorn.distance(STUDENT, TEACHER, eps=0.0)
