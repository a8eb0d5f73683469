import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import pairing

NAN = float("nan")
REWARDS = jnp.array([[1.0, 3.0, 2.0], [NAN, 5.0, 5.0], [NAN, NAN, 1.0], [2.0, NAN, 0.0]])


def test_best_and_worst():
    members, counted = pairing.best_and_worst(REWARDS)
    np.testing.assert_array_equal(counted[:, 0], [True, False, False, True])
    np.testing.assert_array_equal(members[0, 0], [1, 0])
    np.testing.assert_array_equal(members[3, 0], [0, 2])


def test_all_pairs_that_differ_enough():
    members, counted = pairing.AllPairs()(REWARDS)
    np.testing.assert_array_equal(members[0], [[1, 0], [2, 0], [1, 2]])
    np.testing.assert_array_equal(counted, [[True] * 3, [False] * 3, [False] * 3, [False, True, False]])
    np.testing.assert_array_equal(members[3, 1], [0, 2])
    np.testing.assert_array_equal(pairing.AllPairs(gap=1.5)(REWARDS)[1][0], [True, False, False])
    with pytest.raises(ValueError, match="gap=-1"):
        pairing.AllPairs(-1.0)


def test_pairs_across_a_threshold():
    """Neither two good completions nor two bad ones; one that lies on it is bad, and one without a reward in none."""
    members, counted = pairing.Across(above=2.0)(REWARDS)
    np.testing.assert_array_equal(members[0], [[1, 0], [2, 0], [1, 2]])
    np.testing.assert_array_equal(counted, [[True, False, True], [False] * 3, [False] * 3, [False] * 3])
    np.testing.assert_array_equal(pairing.Across(above=1.0)(REWARDS)[1][3], [False, True, False])
    assert pairing.Across(2.0) == pairing.Across(2.0)


def test_completions_alone_and_who_is_above_the_mean():
    members, counted = pairing.alone(REWARDS)
    np.testing.assert_array_equal(members[1], [[0], [1], [2]])
    np.testing.assert_array_equal(counted, ~jnp.isnan(REWARDS))
    np.testing.assert_array_equal(pairing.above_mean(REWARDS), [[0, 1, 0], [NAN, 0, 0], [NAN, NAN, 0], [1, NAN, 0]])


def test_tokens_between_where_both_begin_and_end_alike():
    tokens = jnp.array([[[1, 2, 3, 9, 0], [1, 5, 9, 0, 0]], [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]], [[4, 0, 0, 0, 0]] * 2])
    found = pairing.differing(tokens, jnp.array([[4, 3], [3, 2], [1, 1]]))
    expected = [[[0, 1, 1, 0, 0], [0, 1, 0, 0, 0]], [[0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], [[0] * 5] * 2]
    np.testing.assert_array_equal(found, expected)
    assert not pairing.differing(tokens, jnp.zeros((3, 2), int)).any()


def test_rankings():
    members, counted = pairing.ranked(REWARDS)
    np.testing.assert_array_equal(members[:, 0], [[1, 2, 0], [1, 2, 0], [2, 0, 1], [0, 2, 1]])
    np.testing.assert_array_equal(counted[:, 0], [True, False, False, True])
