import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import conflict

WORDS = jnp.array([[[5, 7, 9, 3], [5, 7, 8, 3], [5, 6, 9, 3]]])
SIGNS = jnp.array([[1.0, -1.0, -1.0]])
LENGTHS = jnp.full((1, 3), 4)
ONE = jnp.array([0])


def test_worked_runs():
    """Forward 1111, 1100, 1000; backward 1111, 0001, 0011."""
    got = conflict.at_edges(WORDS, LENGTHS, SIGNS, ONE)
    np.testing.assert_array_equal(got[0], [[1, 1, 1, 1], [1, 1, 0, 1], [1, 0, 1, 1]])


def test_ends_are_aligned_and_padding_is_no_token():
    words = jnp.array([[[4, 1, 2, 0], [5, 6, 1, 2], [0, 0, 0, 0]]])
    lengths = jnp.array([[3, 4, 0]])
    got = conflict.at_edges(words, lengths, jnp.array([[1.0, -1.0, 1.0]]), ONE)
    np.testing.assert_array_equal(got[0], [[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]])


def test_one_sign_alone_has_no_conflict():
    for signs in ([[1.0, 1, 0]], [[-1.0, -1, 0]], [[0.0, 0, 0]]):
        assert not conflict.at_edges(WORDS, LENGTHS, jnp.array(signs), ONE).any()


def test_an_undecided_completion_shares_what_the_others_have():
    got = conflict.shared(WORDS, jnp.ones((1, 3, 4), bool), jnp.array([[1.0, -1.0, 0.0]]), ONE)
    np.testing.assert_array_equal(got[0], [[1, 1, 0, 1], [1, 1, 0, 1], [1, 0, 0, 1]])


def test_groups_are_told_apart_and_may_span_rows():
    rows = WORDS.reshape(3, 1, 4)
    spanning = conflict.at_edges(rows, LENGTHS.reshape(3, 1), SIGNS.reshape(3, 1), jnp.array([7, 7, 7]))
    np.testing.assert_array_equal(spanning.reshape(1, 3, 4), conflict.at_edges(WORDS, LENGTHS, SIGNS, ONE))
    apart = conflict.at_edges(rows, LENGTHS.reshape(3, 1), SIGNS.reshape(3, 1), jnp.arange(3))
    assert not apart.any()
