import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import marker

WORDS = jnp.asarray([[[7, 8, 1, 9, 7, 8, 2, 9], [7, 8, 1, 1, 1, 1, 1, 1], [9, 7, 8, 3, 7, 8, 4, 7]]])
MASK = jnp.ones(WORDS.shape, bool)
LENGTHS = jnp.asarray([[8, 8, 8]])


def test_a_run_begins_where_all_of_it_follows():
    got = marker.starts(WORDS, MASK, (7, 8))
    np.testing.assert_array_equal(np.argwhere(np.asarray(got)[0]), [[0, 0], [0, 4], [1, 0], [2, 1], [2, 4]])


def test_the_first_run_or_the_end():
    np.testing.assert_array_equal(marker.first(WORDS, MASK, LENGTHS, (8, 2)), [[5, 8, 8]])
    np.testing.assert_array_equal(marker.first(WORDS, MASK, LENGTHS, (7,)), [[0, 0, 1]])


def test_what_is_not_counted_is_no_run():
    np.testing.assert_array_equal(marker.first(WORDS, MASK.at[:, :, 6].set(False), LENGTHS, (8, 2)), [[8, 8, 8]])


def test_inside_the_last_complete_pair():
    """The first completion has two pairs; the second none; in the third the opening after the pair hides nothing."""
    got = np.asarray(marker.between(WORDS, MASK, (7, 8), (9,)))[0]
    np.testing.assert_array_equal(got[0], [0, 0, 0, 0, 0, 0, 1, 0])
    assert not got[1:].any()
    words = jnp.asarray([[[7, 1, 2, 9, 7, 3]]])
    got = marker.between(words, jnp.ones(words.shape, bool), (7,), (9,))
    np.testing.assert_array_equal(got, [[[0, 1, 1, 0, 0, 0]]])
