"""Fronts by hand, and the hypervolume against counting random points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import front

# One program each: a hundred of single operations, on shapes that no other test has, take longer.
unbeaten = jax.jit(front.unbeaten)
crowding = jax.jit(front.crowding)
hypervolume = jax.jit(front.hypervolume)
expected_utility = jax.jit(front.expected_utility)
sparsity = jax.jit(front.sparsity)

POINTS = jnp.array([[1.0, 3.0], [2.0, 2.0], [3.0, 0.5], [1.5, 1.5], [2.0, 2.0]])


def test_who_is_unbeaten():
    np.testing.assert_array_equal(unbeaten(POINTS), [True, True, True, False, True])
    np.testing.assert_array_equal(unbeaten(POINTS[:1]), [True])


def test_crowding_by_hand():
    """The middle: (3 - 1) / 2 + (3 - .5) / 2.5 = 2."""
    np.testing.assert_allclose(crowding(POINTS[:3]), [jnp.inf, 2.0, jnp.inf])
    four = jnp.array([[0.0, 4.0], [1.0, 3.0], [3.0, 1.0], [4.0, 0.0]])
    np.testing.assert_allclose(crowding(four), [jnp.inf, 1.5, 1.5, jnp.inf])


def test_an_objective_in_which_all_are_alike_says_nothing():
    alike = jnp.array([[0.0, 1.0], [1.0, 1.0], [4.0, 1.0]])
    np.testing.assert_allclose(crowding(alike), [jnp.inf, 1.0, jnp.inf])


def test_hypervolume_by_hand():
    """1 x 3 and 1 x 2 and 1 x .5 side by side."""
    np.testing.assert_allclose(hypervolume(POINTS, jnp.zeros(2)), 5.5, rtol=1e-6)
    np.testing.assert_allclose(hypervolume(POINTS[:3], jnp.zeros(2)), 5.5, rtol=1e-6)
    np.testing.assert_allclose(hypervolume(jnp.array([[2.0, 3.0, 4.0]]), jnp.ones(3)), 6.0, rtol=1e-6)
    assert hypervolume(jnp.array([[-1.0, 3.0]]), jnp.zeros(2)) == 0


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_hypervolume_is_the_share_of_points_that_are_beaten(objectives):
    rng = np.random.default_rng(objectives)
    points = rng.uniform(size=(6, objectives))
    drawn = rng.uniform(size=(40000, objectives))
    share = np.any(np.all(drawn[:, None] <= points[None], axis=-1), axis=1).mean()
    found = hypervolume(jnp.asarray(points, jnp.float32), jnp.zeros(objectives))
    np.testing.assert_allclose(found, share, atol=0.01)


def test_utility_and_sparsity_by_hand():
    """Weights (1, 0), (0, 1), (.5, .5) get 3, 3 and 2; gaps 1, 1 and 1.5, 1 squared, over 2."""
    weights = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    np.testing.assert_allclose(expected_utility(POINTS[:3], weights), 8 / 3, rtol=1e-6)
    np.testing.assert_allclose(sparsity(POINTS[:3]), (1 + 1 + 2.25 + 1) / 2, rtol=1e-6)
    assert sparsity(POINTS[:1]) == 0
