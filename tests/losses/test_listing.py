import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import listing


def test_ranks_earn_what_follows_them():
    got = listing.log_decay(jnp.asarray([[[0.0, 1.0, 0.0, 1.0]]]))
    np.testing.assert_allclose(got, [[[1.061606, 1.061606, 0.430677, 0.430677]]], atol=1e-6)
    alone = np.diag(listing.log_decay(jnp.eye(4)[None])[0])
    np.testing.assert_allclose(alone, [1, 0.63093, 0.5, 0.430677], atol=1e-6)
    items = jnp.asarray([[[0.0, 1.0]]])
    np.testing.assert_array_equal(listing.own(items), items)


def test_lists_that_are_complete_too_long_too_short_and_cut_off():
    ids = jnp.asarray([[[0, 1, 1], [0, 1, 2], [0, 0, 0], [0, 0, 0]]])
    mask = jnp.asarray([[[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 0]]], bool)
    truncated = jnp.asarray([[False, True, False, True]])
    got = listing.ending(ids, mask, truncated, 2, beyond=-1.0, ended=2.0, cut=-3.0)
    x = np.nan
    np.testing.assert_array_equal(got, [[[x, x, 2], [x, x, -1], [x, -3, x], [x, x, x]]])


def test_a_stop_token_behind_the_last_line_break_ends_a_complete_list():
    ids, mask = jnp.asarray([[[0, 1, 2]]]), jnp.ones((1, 1, 3), bool)
    got = listing.ending(ids, mask, jnp.zeros((1, 1), bool), 2, beyond=-1.0, ended=2.0, cut=-3.0)
    np.testing.assert_array_equal(got, [[[np.nan, np.nan, 2]]])


def test_the_stop_token_of_a_list_too_long_is_told_nothing():
    ids, mask = jnp.asarray([[[0, 1, 2, 3]]]), jnp.ones((1, 1, 4), bool)
    got = listing.ending(ids, mask, jnp.zeros((1, 1), bool), 2, beyond=-1.0, ended=2.0, cut=-3.0)
    np.testing.assert_array_equal(got, [[[np.nan, np.nan, -1, 0]]])
