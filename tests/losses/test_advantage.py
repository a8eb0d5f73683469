import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import advantage

NAN = jnp.nan
ZSCORE = functools.partial(advantage.group_zscore, ddof=0, eps=0.0)


def opo(rewards, ids):
    return advantage.length_weighted(rewards, jnp.full(rewards.shape, 4), ids)


ALL = [
    advantage.group_centered,
    advantage.group_zscore,
    ZSCORE,
    advantage.leave_one_out,
    advantage.best_of_group,
    opo,
]
BATCH = [advantage.over_reward_std, advantage.over_centered_std]
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
        (advantage.best_of_group, [0.2, 0.9, 0.5, 0.5], [0, 0.4, 0, 0]),
        (advantage.best_of_group, [1, 0, 0, 1], [0, 0, 0, 0]),
        (opo, [1, 0, 0, 0], [0.75, -0.25, -0.25, -0.25]),
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


@pytest.mark.parametrize("function", ALL + BATCH)
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6, -7.7])
def test_equal_rewards_give_exactly_nothing(function, value):
    np.testing.assert_array_equal(function(jnp.full((2, 7), value), jnp.array([0, 0])), 0)


@pytest.mark.parametrize("function", ALL)
def test_a_group_of_one_gives_nothing(function):
    np.testing.assert_array_equal(function(jnp.array([[3.0], [1.0]]), jnp.array([0, 1])), 0)


@pytest.mark.parametrize("function", ALL + BATCH)
def test_shift_changes_nothing(function):
    rewards = jnp.array([[1.0, 0.0, 0.25, 0.5]])
    np.testing.assert_allclose(function(rewards + 64, ONE), function(rewards, ONE), atol=1e-5)


def test_scale_changes_nothing_without_eps():
    rewards = jnp.array([[1.0, 0.0, 0.25, 0.5]])
    np.testing.assert_allclose(ZSCORE(1e-5 * rewards, ONE), ZSCORE(rewards, ONE), atol=1e-5)


def test_seven_against_one_stays_bounded():
    got = advantage.group_zscore(jnp.array([[1.0] * 7 + [0.0]]), ONE)
    np.testing.assert_allclose(got[0, 7], -7 / 8 / np.std([1] * 7 + [0], ddof=1), rtol=1e-5)


@pytest.mark.parametrize("function", ALL + BATCH)
def test_no_gradient_and_jit(function):
    rewards, ids = jnp.array([[1.0, 0.0, NAN], [0.2, 0.4, 0.9]]), jnp.array([3, 3])
    np.testing.assert_array_equal(jax.grad(lambda r: function(r, ids).sum())(rewards), 0)
    np.testing.assert_allclose(jax.jit(function)(rewards, ids), function(rewards, ids), atol=1e-6)


def test_per_token_stands_on_counted_tokens():
    got = advantage.per_token(jnp.array([[2.0, -1.0]]), jnp.array([[[True, False], [True, True]]]))
    np.testing.assert_array_equal(got, [[[2, 0], [-1, -1]]])


def test_long_completions_pull_the_baseline():
    """FX: lengths 3, 2, 3, 1 and rewards 1, 0, 0, 1 give the baseline 4/9."""
    rewards, lengths = jnp.array([[1.0, 0, 0, 1]]), jnp.array([[3, 2, 3, 1]])
    got = advantage.length_weighted(rewards, lengths, ONE)
    np.testing.assert_allclose(got[0], np.array([1, 0, 0, 1]) - 4 / 9, atol=1e-6)
    np.testing.assert_allclose(jnp.sum(got * lengths.astype(jnp.float32)), 0, atol=1e-6)
    nothing = advantage.length_weighted(rewards, jnp.zeros((1, 4), int), ONE)
    assert np.isfinite(nothing).all()


def test_batch_spreads_of_raw_and_of_centred_rewards_differ():
    rewards = jnp.array([[1.0, 0, 0, 1], [1, 1, 1, 0]])
    ids = jnp.array([0, 1])
    raw = advantage.over_reward_std(rewards, ids)
    np.testing.assert_allclose(raw[:, :2], [[0.965905, -0.965905], [0.482953, 0.482953]], atol=1e-5)
    np.testing.assert_allclose(raw[1, 3], -1.448858, atol=1e-5)
    np.testing.assert_allclose(0.5 / raw[0, 0] - 1e-4, 0.517549, atol=1e-6)
    centered = advantage.over_centered_std(rewards, ids, eps=0.0)
    np.testing.assert_allclose(centered[:, :2], [[1.069045, -1.069045], [0.534522, 0.534522]], atol=1e-5)
    np.testing.assert_allclose(centered[1, 3], -1.603567, atol=1e-5)
    np.testing.assert_allclose(0.5 / centered[0, 0], 0.467707, atol=1e-6)


def test_one_group_makes_the_batch_the_group():
    rewards = jnp.array([[1.0, 0.0, 0.25, 0.5]])
    for function in (advantage.over_reward_std, advantage.over_centered_std):
        got = function(rewards, ONE, ddof=0, eps=0.0)
        np.testing.assert_allclose(got, ZSCORE(rewards, ONE), atol=1e-6)


def test_batch_statistics_leave_failed_rewards_out():
    with_nan = jnp.array([[1.0, NAN, 0.0, 0.0], [NAN, NAN, 1.0, 0.0]])
    for function in BATCH:
        got = function(with_nan, jnp.array([0, 1]))
        short = function(jnp.array([[1.0, 0.0, 0.0, 1.0, 0.0]]).reshape(5, 1), jnp.array([0, 0, 0, 1, 1]))
        np.testing.assert_allclose(got[jnp.isfinite(with_nan)], short[:, 0], atol=1e-6)
        np.testing.assert_array_equal(got[jnp.isnan(with_nan)], 0)


def test_several_rewards_are_heard_alike():
    """Two groups; the second reward is the first, flipped in the second group and a hundred times larger."""
    first = jnp.array([[1.0, 0.0], [1.0, 0.0]])
    second = 100 * jnp.array([[1.0, 0.0], [0.0, 1.0]])
    rewards, ids = jnp.stack([first, second], axis=-1), jnp.array([0, 1])
    got = advantage.sum_of_zscores(rewards, ids, weights=(1.0, 1.0), eps=0.0)
    np.testing.assert_allclose(got, np.array([[1, -1], [0, 0]]) / np.std([1, -1, 0, 0], ddof=1), atol=1e-6)
    one = advantage.sum_of_zscores(rewards, ids, weights=(0.0, 1.0), eps=0.0)
    np.testing.assert_allclose(one, np.array([[1, -1], [-1, 1]]) * np.sqrt(3) / 2, atol=1e-6)


def test_rewards_that_do_not_apply_add_nothing():
    rewards = jnp.array([[[1.0, NAN], [0.0, NAN], [NAN, NAN]]])
    got = advantage.sum_of_zscores(rewards, ONE, weights=(1.0, 1.0), eps=0.0)
    np.testing.assert_allclose(got[0], [1 / np.sqrt(2), -1 / np.sqrt(2), 0], atol=1e-6)


def test_mixed_groups_and_their_share():
    rewards = jnp.array([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [NAN, NAN], [NAN, 0.3]])
    ids = jnp.array([4, 2, 4, 7, 9])
    np.testing.assert_array_equal(advantage.mixed(rewards, ids), [True, True, True, False, False])
    np.testing.assert_allclose(advantage.mixed_share(rewards, ids), 2 / 3, rtol=1e-6)
    assert advantage.mixed_share(jnp.full((2, 3), 0.1), jnp.array([0, 1])) == 1


def test_whitening_counts_tokens():
    """FX: centred rewards on tokens of lengths 3, 2, 3, 1."""
    mask = jnp.array([[[1, 1, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0]]], bool)
    tokens = advantage.per_token(jnp.array([[0.5, -0.5, -0.5, 0.5]]), mask)
    got = advantage.whitened(tokens, mask)
    np.testing.assert_allclose(got[0, :, 0], [1.054093, -0.843274, -0.843274, 1.054093], atol=2e-6)
    np.testing.assert_array_equal(jnp.where(mask, 0, got), 0)
    np.testing.assert_allclose(got.sum(), 0, atol=1e-5)
    np.testing.assert_allclose((got**2).sum() / 8, 1, rtol=1e-5)


@pytest.mark.parametrize("value", [0.1, 1e6, -7.7])
def test_whitening_equal_advantages_gives_exactly_nothing(value):
    mask = jnp.array([[[True, True, False]]])
    np.testing.assert_array_equal(advantage.whitened(jnp.full((1, 1, 3), value), mask, eps=0.0), 0)
    np.testing.assert_array_equal(advantage.whitened(jnp.full((1, 1, 3), value), ~mask & mask), 0)


@pytest.mark.parametrize(
    ("weights", "summed", "each"),
    [((0.7, 0.3), [1.2247, 0.0, -1.2247], [0.4899, 0.0, -0.4899]), ((0.5, 0.5), [0.0, 0.0, 0.0], [0.0, 0.0, 0.0])],
)
def test_several_objectives_summed_first_or_standardised_first(weights, summed, each):
    """Objectives (.9, .5, .1) and (.2, .6, 1): the sum has one size, whatever the objectives disagree about."""
    scores, ids = jnp.array([[[0.9, 0.2], [0.5, 0.6], [0.1, 1.0]]]), jnp.array([0])
    first = sum(w * scores[..., k] for k, w in enumerate(weights))
    np.testing.assert_allclose(advantage.group_zscore(jnp.round(first, 5), ids, ddof=0, eps=0.0)[0], summed, atol=1e-4)
    zscores = sum(w * advantage.group_zscore(scores[..., k], ids, ddof=0, eps=0.0) for k, w in enumerate(weights))
    np.testing.assert_allclose(zscores[0], each, atol=1e-4)
