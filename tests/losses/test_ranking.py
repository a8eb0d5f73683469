import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import link, ranking

# One program each: a hundred of single operations, on shapes that no other test has, take longer.
plackett_luce = jax.jit(ranking.plackett_luce)

ALL = jnp.ones((1, 3), bool)
REWARDS = jnp.array([[0.1, 0.0, -0.1]])


def test_three_by_hand():
    np.testing.assert_allclose(plackett_luce(REWARDS, ALL), [1.646340], rtol=1e-6)


def test_two_are_a_logistic_margin():
    rewards = jnp.array([[0.7, -0.4], [-3.0, 2.0]])
    losses = plackett_luce(rewards, jnp.ones((2, 2), bool))
    np.testing.assert_allclose(losses, link.logistic(rewards[:, 0] - rewards[:, 1]), rtol=1e-6)


def test_probabilities_of_all_rankings_add_up_to_one():
    orders = jnp.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    losses = plackett_luce(jnp.array([1.0, 0.3, -2.0])[orders], jnp.ones((6, 3), bool))
    np.testing.assert_allclose(jnp.exp(-losses).sum(), 1, rtol=1e-5)


def test_absent_places_are_skipped_wherever_they_are():
    present = jnp.array([[True, False, True], [True, True, False], [False, True, False], [False, False, False]])
    rewards = jnp.array([[0.1, 99.0, -0.1], [0.1, -0.1, 99.0], [99.0, 0.1, 99.0], [99.0, 99.0, 99.0]])
    losses = plackett_luce(rewards, present)
    np.testing.assert_allclose(losses, [0.598139, 0.598139, 0, 0], rtol=2e-6, atol=1e-7)
    gradient = np.asarray(jax.grad(lambda rewards: plackett_luce(rewards, present).sum())(rewards))
    np.testing.assert_array_equal(gradient[~np.asarray(present)], 0)
    np.testing.assert_array_equal(gradient[2:], 0)


def test_far_rewards_stay_finite():
    value, gradient = jax.value_and_grad(lambda x: plackett_luce(x, ALL).sum())(jnp.array([[-900.0, 0, 900]]))
    np.testing.assert_allclose(value, 2700, rtol=1e-6)
    np.testing.assert_allclose(gradient, [[-1, -1, 2]], atol=1e-6)


def test_rows_with_fewer_than_two_completions_weigh_nothing():
    mask = jnp.array([[[True], [True], [True]], [[True], [False], [True]], [[True], [False], [False]]])
    np.testing.assert_array_equal(ranking.row_weights(mask), [0.5, 0.5, 0])
    np.testing.assert_array_equal(ranking.row_weights(jnp.zeros_like(mask)), 0)


def test_pairs_by_level():
    got = ranking.better(jnp.array([[2.0, jnp.nan, 1.0, 2.0]]))
    np.testing.assert_array_equal(got, [[[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]])
