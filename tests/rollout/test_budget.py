import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import advantage
from posttrain_jax.rollout import budget


def test_worked_values():
    got = budget.value(np.full(4, 8), np.array([0.1, 1 / 3, 0.5, 0.9]))
    np.testing.assert_allclose(got, [0.046132, 0.142345, 0.124023, 0.005126], atol=5e-7)


@pytest.mark.parametrize(
    ("rates", "expected", "value"),
    [([0.5, 0.1, 0.9, 0.0], [8, 16, 6, 2], 0.194230996), ([0.05, 0.3, 0.6, 0.95], [12, 11, 7, 2], 0.258215273)],
)
def test_worked_budgets(rates, expected, value):
    got = budget.allocate(np.array(rates), total=32, low=2, high=16)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(budget.value(got, np.array(rates)).sum(), value, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_fits_is_worth_more(seed):
    rates = np.random.default_rng(seed).uniform(0.02, 0.98, 4)
    got = budget.allocate(rates, total=16, low=2, high=7)
    every = (b for b in itertools.product(range(2, 8), repeat=4) if sum(b) == 16)
    best = max(budget.value(np.array(b), rates).sum() for b in every)
    assert got.sum() == 16
    np.testing.assert_allclose(budget.value(got, rates).sum(), best, rtol=1e-12)


def test_one_success_in_a_hundred_needs_229_completions_to_be_seen_nine_times_of_ten():
    got = budget.value(np.array([229]), np.array([0.01])) / (0.01 * 0.99**2)
    np.testing.assert_allclose(got, 0.9, atol=2e-4)


def test_what_is_left_goes_evenly_to_what_never_succeeds():
    got = budget.allocate(np.array([0.0, 0.5, 1.0, 0.0]), total=19, low=2, high=8)
    np.testing.assert_array_equal(got, [5, 8, 2, 4])


def test_equal_rates_share_evenly_the_first_first():
    np.testing.assert_array_equal(budget.allocate(np.full(3, 0.4), total=11, low=2, high=8), [4, 4, 3])
    np.testing.assert_array_equal(budget.allocate(np.full(3, 0.4), total=6, low=2, high=2), [2, 2, 2])


@pytest.mark.parametrize(
    ("rates", "total", "match"),
    [([0.5, 1.2], 8, "shares"), ([0.5, 0.5], 3, "take 4 to 16"), ([0.5, 1.0], 11, "take 4 to 10"), ([0.5], 99, "take")],
)
def test_impossible_budgets_are_refused(rates, total, match):
    with pytest.raises(ValueError, match=match):
        budget.allocate(np.array(rates), total=total, low=2, high=8)


def test_budgets_of_nothing_are_refused():
    with pytest.raises(ValueError, match="low="):
        budget.allocate(np.array([0.5]), total=4, low=0, high=8)


def test_ragged_groups_are_several_rows_of_one_id():
    """Budgets 4 and 2 in rows of two."""
    budgets = budget.allocate(np.array([0.3, 0.95]), total=6, low=2, high=4)
    np.testing.assert_array_equal(budgets, [4, 2])
    ids = jnp.asarray(np.repeat([10, 20], budgets // 2))
    rewards = jnp.array([[1.0, 0], [0, 0], [1, 0]])
    got = advantage.group_zscore(rewards, ids)
    np.testing.assert_allclose(got, [[1.5, -0.5], [-0.5, -0.5], [0.707107, -0.707107]], atol=1e-5)


def test_units_are_whole_rows():
    """In units of two the best among even budgets."""
    rates = np.array([0.5, 0.1, 0.9])
    got = budget.allocate(rates, total=16, low=2, high=12, unit=2)
    every = (b for b in itertools.product(range(2, 13, 2), repeat=3) if sum(b) == 16)
    best = max(budget.value(np.array(b), rates).sum() for b in every)
    assert got.sum() == 16
    assert not np.any(got % 2)
    np.testing.assert_allclose(budget.value(got, rates).sum(), best, rtol=1e-12)
    with pytest.raises(ValueError, match="multiples of 3"):
        budget.allocate(rates, total=16, low=2, high=12, unit=3)
