import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import advantage

NAN = jnp.nan
ZSCORE = functools.partial(advantage.group_zscore, ddof=0, eps=0.0)
ALL = [advantage.group_centered, advantage.group_zscore, ZSCORE, advantage.leave_one_out]
ONE = jnp.array([0])


@pytest.mark.parametrize(
    ("function", "rewards", "expected"),
    [
        (advantage.group_centered, [1, 0, 0, 1], [0.5, -0.5, -0.5, 0.5]),
        (ZSCORE, [1, 0, 0, 1], [1, -1, -1, 1]),
        (advantage.group_zscore, [1, 0, 0, 1], [0.866024, -0.866024, -0.866024, 0.866024]),
        (advantage.leave_one_out, [1, 0, 0, 1], [0.666667, -0.666667, -0.666667, 0.666667]),
        (ZSCORE, [1, 0, 0, 0], [1.732051, -0.57735, -0.57735, -0.57735]),
        (advantage.group_zscore, [1, 0, 0, 0], [1.5, -0.5, -0.5, -0.5]),
        (advantage.leave_one_out, [1, 0, 0, 0], [1, -1 / 3, -1 / 3, -1 / 3]),
        (ZSCORE, [1, 0], [1, -1]),
        (advantage.leave_one_out, [1, 0], [1, -1]),
        (advantage.group_centered, [1, 0], [0.5, -0.5]),
    ],
)
def test_worked_numbers(function, rewards, expected):
    rewards = jnp.array([rewards], jnp.float32)
    np.testing.assert_allclose(function(rewards, ONE)[0], np.array(expected), atol=4e-6)


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others():
    rewards = jnp.array([[0.3, -1.2, 2.5, 0.9, 0.0]])
    expected = [0.3 - 0.55, -1.2 - 0.925, 2.5 - 0.0, 0.9 - 0.4, 0.0 - 0.625]
    np.testing.assert_allclose(advantage.leave_one_out(rewards, ONE)[0], expected, atol=1e-6)


@pytest.mark.parametrize("function", ALL)
def test_rows_with_one_id_form_one_group(function):
    rewards = jnp.array([[0.1, 0.7], [5.0, 6.0], [-0.4, 1.3], [2.0, 2.5], [0.2, 0.9]])
    ids = jnp.array([9, -3, 9, 1000000, 9])
    got = function(rewards, ids)
    whole = function(rewards[jnp.array([0, 2, 4])].reshape(1, 6), ONE)
    np.testing.assert_allclose(got[jnp.array([0, 2, 4])].reshape(-1), whole[0], atol=1e-6)
    np.testing.assert_allclose(got[1], function(rewards[1:2], ONE)[0], atol=1e-6)
    np.testing.assert_allclose(got[3], function(rewards[3:4], ONE)[0], atol=1e-6)


@pytest.mark.parametrize("function", ALL)
def test_nan_rewards_leave_the_statistics_and_get_nothing(function):
    got = function(jnp.array([[1.0, NAN, 0.0, 0.0], [NAN, NAN, NAN, NAN]]), jnp.array([0, 1]))
    expected = function(jnp.array([[1.0, 0.0, 0.0]]), ONE)[0]
    np.testing.assert_allclose(got[0, jnp.array([0, 2, 3])], expected, atol=1e-6)
    assert got[0, 1] == 0
    np.testing.assert_array_equal(got[1], 0)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6, -7.7])
def test_equal_rewards_give_exactly_nothing(function, value):
    np.testing.assert_array_equal(function(jnp.full((2, 7), value), jnp.array([0, 0])), 0)


@pytest.mark.parametrize("function", ALL)
def test_a_group_of_one_gives_nothing(function):
    np.testing.assert_array_equal(function(jnp.array([[3.0], [1.0]]), jnp.array([0, 1])), 0)


@pytest.mark.parametrize("function", ALL)
def test_shift_changes_nothing(function):
    rewards = jnp.array([[1.0, 0.0, 0.25, 0.5]])
    np.testing.assert_allclose(function(rewards + 64, ONE), function(rewards, ONE), atol=1e-5)


def test_scale_changes_nothing_without_eps():
    rewards = jnp.array([[1.0, 0.0, 0.25, 0.5]])
    np.testing.assert_allclose(ZSCORE(1e-5 * rewards, ONE), ZSCORE(rewards, ONE), atol=1e-5)


def test_seven_against_one_stays_bounded():
    got = advantage.group_zscore(jnp.array([[1.0] * 7 + [0.0]]), ONE)
    np.testing.assert_allclose(got[0, 7], -7 / 8 / np.std([1] * 7 + [0], ddof=1), rtol=1e-5)


@pytest.mark.parametrize("function", ALL)
def test_no_gradient_and_jit(function):
    rewards, ids = jnp.array([[1.0, 0.0, NAN], [0.2, 0.4, 0.9]]), jnp.array([3, 3])
    np.testing.assert_array_equal(jax.grad(lambda r: function(r, ids).sum())(rewards), 0)
    np.testing.assert_allclose(jax.jit(function)(rewards, ids), function(rewards, ids), atol=1e-6)


def test_per_token_stands_on_counted_tokens():
    got = advantage.per_token(jnp.array([[2.0, -1.0]]), jnp.array([[[True, False], [True, True]]]))
    np.testing.assert_array_equal(got, [[[2, 0], [-1, -1]]])
