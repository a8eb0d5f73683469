import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import advantage, difficulty

NAN = jnp.nan
REWARDS = jnp.array([[1.0, 0, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, NAN, 0], [1, 0, NAN, NAN], [NAN] * 4])
IDS = jnp.arange(6)


def test_rates_count_what_was_scored_over_all_rows_of_a_group():
    got = difficulty.success_rate(REWARDS, IDS, above=0.5)
    np.testing.assert_allclose(got, [0.25, 0.75, 1, 0, 0.5, 0])
    joined = difficulty.success_rate(REWARDS, jnp.array([0, 0, 1, 2, 2, 3]), above=0.5)
    np.testing.assert_allclose(joined, [0.5, 0.5, 1, 0.2, 0.2, 0])


@pytest.mark.parametrize(
    ("band", "kept"),
    [
        (difficulty.Band(), [1, 1, 0, 0, 1, 0]),
        (difficulty.Band(0.25, 0.75), [0, 0, 0, 0, 1, 0]),
        (difficulty.Band(-0.1, 0.75), [1, 0, 0, 1, 1, 1]),
        (difficulty.Band(0.25, 1.1), [0, 1, 1, 0, 1, 0]),
    ],
)
def test_bands_are_open(band, kept):
    np.testing.assert_array_equal(band(REWARDS, IDS), kept)


def test_the_widest_open_band_keeps_the_groups_that_differ():
    got = difficulty.Band(0.0, 1.0)(REWARDS, IDS)
    np.testing.assert_array_equal(got, advantage.mixed(REWARDS, IDS))


def test_five_completions_of_an_open_band():
    """G = 5 keeps 2 and 3 successes: 1 and 4 lie on the ends."""
    rewards = jnp.tril(jnp.ones((6, 5)), -1)
    np.testing.assert_array_equal(difficulty.Band()(rewards, IDS), [0, 0, 1, 1, 0, 0])


def test_a_rate_of_few_completions_is_noisy():
    """Of four completions of a prompt that succeeds one time in four none succeeds with probability 0.316."""
    groups = np.array(list(itertools.product([0.0, 1.0], repeat=4)), np.float32)
    chance = np.prod(np.where(groups == 1, 0.25, 0.75), axis=1)
    rates = difficulty.success_rate(jnp.asarray(groups), jnp.arange(16), above=0.5)
    np.testing.assert_allclose(chance[np.asarray(rates) == 0].sum(), 0.316, atol=5e-4)
    np.testing.assert_allclose(chance @ rates, 0.25, rtol=1e-6)


def test_spread():
    rewards = jnp.array([[0.5, 0.5], [0.5, 0.505], [0.5, 0.6], [NAN, 0.5], [NAN, NAN]])
    got = difficulty.Spread(0.01)(rewards, jnp.arange(5))
    np.testing.assert_array_equal(got, [0, 0, 1, 0, 0])


@pytest.mark.parametrize(("beta", "expected"), [(10.0, 0.00124948), (1.0, 0.12011), (0.1, 4.3069)])
def test_worked_room(beta, expected):
    np.testing.assert_allclose(difficulty.room(jnp.float32(0.5), beta=beta), expected, rtol=2e-4)


def test_room_is_the_divergence_from_the_best_policy():
    """Five completions, two of them right; the leading term is too large at p = 0.5 and too small at p = 0.9."""
    log_probs, rewards = jax.nn.log_softmax(jnp.array([0.3, -1.0, 0.2, 0.9, -0.4])), jnp.array([1.0, 0, 0, 1, 0])
    best = jax.nn.log_softmax(log_probs + rewards / 0.7)
    exact = jnp.sum(jnp.exp(log_probs) * (log_probs - best))
    np.testing.assert_allclose(difficulty.room(jnp.exp(log_probs) @ rewards, beta=0.7), exact, rtol=1e-5)
    np.testing.assert_array_equal(difficulty.room(jnp.array([0.0, 1.0]), beta=0.5), 0)
    np.testing.assert_allclose(difficulty.room(jnp.float32(0.9), beta=1.0), 0.0347, atol=5e-5)
    assert difficulty.room(jnp.float32(0.9), beta=1.0) < 0.9 * 0.1 / 2


@pytest.mark.parametrize("rule", [lambda: difficulty.Band(0.8, 0.2), lambda: difficulty.Band(1.0, 2.0)])
def test_empty_bands_are_refused(rule):
    with pytest.raises(ValueError, match="low="):
        rule()


def test_a_negative_spread_is_refused():
    with pytest.raises(ValueError, match="above="):
        difficulty.Spread(-0.1)


def test_bands_are_the_filter_of_instances_of_rif():
    """At least one success (Lai et al. 2025, arXiv:2507.05386), or one success and one failure."""
    rewards = jnp.array([[0.0, 0, 0], [0, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(difficulty.Band(0.0, 2.0)(rewards, jnp.arange(3)), [False, True, True])
    np.testing.assert_array_equal(difficulty.Band(0.0, 1.0)(rewards, jnp.arange(3)), [False, True, False])
