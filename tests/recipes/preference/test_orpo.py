import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import MASK, RANDOM_LOGPS, RANDOM_MASK, check, random_step, spread, stats, step

from posttrain_jax.recipes.preference.orpo import ORPO


def test_canonical_pair():
    check(ORPO(odds_coef=0.1), 2.069315)


def test_odds_are_those_of_the_mean():
    # means -0.4 and -0.6: log-odds 0.712 - 0.198 = 0.514, where sums would give 0.6 less something tiny
    policy = stats(spread(-2.0, -4.2))
    odds = -0.4 - np.log(-np.expm1(-0.4)) + 0.6 + np.log(-np.expm1(-0.6))
    np.testing.assert_allclose(odds, 0.514, atol=5e-4)
    check(ORPO(odds_coef=1.0), 0.4 + np.log1p(np.exp(-odds)), policy=policy)


def test_gradient():
    # d log odds / d mean = 1 / (1 - p)
    push = 0.1 * 0.5 / (1 - np.exp(-2.0))
    _, gradient = step(ORPO(odds_coef=0.1))
    expected = jnp.array([[[-(1 + push) / 5], [push / 7]]])
    np.testing.assert_allclose(gradient, jnp.where(MASK, expected, 0), rtol=1e-5)


def test_without_odds_it_is_the_likelihood_of_the_chosen_completions_each_alike():
    value, gradient = random_step(ORPO(odds_coef=0.0))
    chosen, logps = np.asarray(RANDOM_MASK[:, 0]), np.asarray(RANDOM_LOGPS[:, 0])
    lengths = chosen.sum(-1, keepdims=True)
    np.testing.assert_allclose(value, -(logps / lengths).sum() / 3, rtol=1e-6)
    np.testing.assert_allclose(gradient[:, 0], chosen / lengths / -3, rtol=1e-6)
    assert not gradient[:, 1].any()


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="odds_coef"):
        ORPO(odds_coef=-0.1)
