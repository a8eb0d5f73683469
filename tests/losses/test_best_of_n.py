import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import best_of_n, tilting

REWARDS = np.array([0.3, -1.0, 2.0, 0.7, 1.1], np.float32)
GAINS = np.array([1.0, 0.5, -2.0, 0.0, 3.0], np.float32)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_mean_over_all_subsets(n):
    picks = [max(some, key=lambda i: REWARDS[i]) for some in itertools.combinations(range(5), n)]
    got = best_of_n.expected(jnp.asarray(REWARDS), jnp.asarray(GAINS), n)
    assert float(got) == pytest.approx(float(GAINS[picks].mean()), abs=2e-5)


def test_the_estimate_is_unbiased_for_the_exact_distribution():
    """All draws of three from a reference, weighed by their probability, against best-of-2's own distribution."""
    probs, rewards = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 2.0])
    draws = np.array(list(itertools.product(range(3), repeat=3)))
    values = best_of_n.expected(*[jnp.asarray(rewards[draws], jnp.float32)] * 2, 2)
    exact = jnp.exp(tilting.best_of_n(jnp.log(jnp.asarray(probs, jnp.float32)), jnp.asarray(rewards, jnp.float32), 2))
    np.testing.assert_allclose(exact, [0.25, 0.39, 0.36], rtol=1e-5)
    assert float(np.sum(probs[draws].prod(1) * values)) == pytest.approx(float(exact @ rewards), rel=1e-5)


def test_the_divergence_is_below_its_bound_and_meets_it_without_atoms():
    log_probs, rewards = jnp.log(jnp.array([0.5, 0.3, 0.2])), jnp.array([0.0, 1.0, 2.0])
    for n, kl, bound in ((2, 0.140638, 0.193147), (4, 0.559751, 0.636294)):
        exact = tilting.divergence(tilting.best_of_n(log_probs, rewards, n), log_probs)
        assert float(exact) == pytest.approx(kl, abs=2e-6)
        assert float(tilting.best_of_n_bound(n)) == pytest.approx(bound, abs=2e-6)
    many = jnp.full(4000, -math.log(4000.0))
    fine = tilting.divergence(
        tilting.best_of_n(many[:500] + math.log(8.0), jnp.arange(500.0), 4), many[:500] + math.log(8.0)
    )
    assert float(fine) == pytest.approx(float(tilting.best_of_n_bound(4)), abs=0.01)


def test_the_best_is_the_first_of_equal_ones_and_never_nan():
    rewards = jnp.array([[1.0, 3.0, 3.0], [jnp.nan, -1.0, -2.0]])
    np.testing.assert_array_equal(best_of_n.best(rewards), [1, 1])


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="the best of 4 cannot be told from 3 samples"):
        best_of_n.expected(jnp.zeros(3), jnp.zeros(3), 4)
