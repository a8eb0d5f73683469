import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import returns

REWARDS = jnp.array([[[0.0, 0.0, 1.0]]])
VALUES = jnp.array([[[0.2, 0.5, 0.6]]])
MASK = jnp.ones((1, 1, 3), bool)


def traced(trace):
    return jnp.full((1, 1), trace)


@pytest.mark.parametrize(
    ("trace", "expected"), [(0.95, [0.756, 0.48, 0.4]), (1.0, [0.8, 0.5, 0.4]), (0.0, [0.3, 0.1, 0.4])]
)
def test_worked_advantages(trace, expected):
    got = returns.gae(REWARDS, VALUES, MASK, trace=traced(trace))
    np.testing.assert_allclose(got[0, 0], np.array(expected), atol=1e-6)


def test_discounted_by_hand():
    got = returns.gae(REWARDS, VALUES, MASK, discount=0.5, trace=traced(0.5))
    last, middle, first = 0.4, 0.3 - 0.5, 0.25 - 0.2
    middle += 0.25 * last
    first += 0.25 * middle
    np.testing.assert_allclose(got[0, 0], [first, middle, last], atol=1e-6)


def test_to_go_is_discounted_summing_from_the_end():
    rewards = jnp.array([[[1.0, 2.0, 4.0]]])
    np.testing.assert_allclose(returns.to_go(rewards, MASK)[0, 0], [7, 6, 4])
    np.testing.assert_allclose(returns.to_go(rewards, MASK, discount=0.5)[0, 0], [3, 4, 4])


def test_the_mean_of_what_follows_by_hand():
    rewards = jnp.array([[[0.2, -0.1, 0.4], [0.2, 9.0, 0.4]]])
    mask = jnp.array([[[True, True, True], [True, False, True]]])
    np.testing.assert_allclose(returns.following_mean(rewards, mask)[0], [[0.15, 0.4, 0], [0.4, 0, 0]], atol=1e-6)


def test_tool_output_is_stepped_over():
    wide = jnp.array([[[True, False, True, False, False, True, False]]])
    spread = lambda x: jnp.full((1, 1, 7), 9.0).at[0, 0, jnp.array([0, 2, 5])].set(x[0, 0])  # noqa: E731
    got = returns.gae(spread(REWARDS), spread(VALUES), wide, discount=0.9, trace=traced(0.95))
    expected = returns.gae(REWARDS, VALUES, MASK, discount=0.9, trace=traced(0.95))
    np.testing.assert_allclose(got[wide], expected[0, 0], rtol=1e-6)
    np.testing.assert_array_equal(got[~wide], 0)


def test_the_reward_stands_on_the_last_counted_token():
    mask = jnp.array([[[True, True, False], [True, False, True], [False, False, False]]])
    got = returns.at_last(jnp.array([[2.0, 3.0, jnp.nan]]), mask)
    np.testing.assert_array_equal(got, [[[0, 2, 0], [0, 0, 3], [0, 0, 0]]])


def test_perfect_values_leave_no_advantage():
    got = returns.gae(REWARDS, jnp.ones((1, 1, 3)), MASK, trace=traced(0.95))
    np.testing.assert_allclose(got, 0, atol=1e-6)


def test_no_gradient():
    gradient = jax.grad(lambda v: returns.gae(REWARDS, v, MASK, trace=traced(1.0)).sum())(VALUES)
    np.testing.assert_array_equal(gradient, 0)


def test_traces_that_grow_with_the_length():
    got = returns.length_adaptive(jnp.array([[0, 5, 20, 40, 100, 1000]]), alpha=0.05)
    np.testing.assert_allclose(got, [[0, 0, 0, 0.5, 0.8, 0.98]], atol=1e-6)
