import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax import types
from posttrain_jax.losses import advantage, group, ratio, segment

MASK = jnp.asarray([[[1, 1, 1, 0, 1, 1, 0], [1, 1, 0, 0, 0, 0, 0]]], bool)
IDS = jnp.asarray([[[0, 0, 1, 1, 2, 2, -1], [0, 1, -1, -1, -1, -1, -1]]])
X = jnp.asarray([[[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0], [1.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0]]])
THERE = segment.present(IDS, MASK, 3)


def test_sums_and_means_are_of_the_segments_tokens():
    np.testing.assert_array_equal(segment.total(X, IDS, 3), [[[3, 12, 48], [1, 3, 0]]])
    np.testing.assert_array_equal(segment.mean(X, IDS, MASK, 3), [[[1.5, 4, 24], [1, 3, 0]]])
    np.testing.assert_array_equal(THERE, [[[1, 1, 1], [1, 1, 0]]])


def test_what_belongs_to_a_segment_stands_on_its_tokens():
    adv_seg = jnp.asarray([[[10.0, 20.0], [30.0, 40.0]]])
    np.testing.assert_array_equal(
        segment.on_tokens(adv_seg, IDS), [[[10, 10, 20, 20, 0, 0, 0], [30, 40, 0, 0, 0, 0, 0]]]
    )


def test_numbers_without_a_column_are_in_no_segment():
    np.testing.assert_array_equal(segment.total(X, IDS, 2), [[[3, 12], [1, 3]]])


def test_one_segment_is_the_completion_and_one_token_each_the_tokens():
    one = jnp.where(MASK, 0, -1)
    np.testing.assert_allclose(
        segment.on_tokens(segment.mean(X, one, MASK, 1), one), ratio.sequence_mean(X, MASK), rtol=1e-6
    )
    each = jnp.where(MASK, jnp.arange(7), -1)
    np.testing.assert_array_equal(segment.on_tokens(segment.mean(X, each, MASK, 7), each), ratio.per_token(X, MASK))


def test_a_segments_mean_has_the_gradient_of_a_mean():
    gradient = jax.grad(lambda x: segment.mean(x, IDS, MASK, 3)[0, 0, 2])(X)
    np.testing.assert_array_equal(gradient, [[[0, 0, 0, 0, 0.5, 0.5, 0], [0] * 7]])


def test_the_segment_ratio_is_a_geometric_mean():
    log_ratios = jnp.asarray([[[0.1, -0.2, 0.4]]])
    ids, mask = jnp.zeros((1, 1, 3), int), jnp.ones((1, 1, 3), bool)
    assert float(ratio.exp(segment.mean(log_ratios, ids, mask, 1))[0, 0, 0]) == pytest.approx(1.105171, abs=1e-6)


def test_ends_belong_to_what_they_end_and_some_end_two():
    words = jnp.asarray([[[5, 9, 5, 7, 5, 9, 9]]])
    mask = jnp.asarray([[[1, 1, 1, 1, 1, 1, 0]]], bool)
    np.testing.assert_array_equal(segment.ending(words, mask, (9, 7, 7)), [[[0, 0, 1, 1, 3, 3, -1]]])
    np.testing.assert_array_equal(segment.ending(words, mask, ()), [[[0, 0, 0, 0, 0, 0, -1]]])


def test_tokens_that_the_policy_did_not_choose_end_nothing():
    words, mask = jnp.asarray([[[9, 9, 5]]]), jnp.asarray([[[1, 0, 1]]], bool)
    np.testing.assert_array_equal(segment.ending(words, mask, (9,)), [[[0, -1, 1]]])


def test_returns_to_go_count_by_segment():
    there = jnp.ones((1, 1, 3), bool)
    got = segment.to_go(jnp.asarray([[[0.0, 0.0, 1.0]]]), there, discount=0.95)
    np.testing.assert_allclose(got, [[[0.9025, 0.95, 1.0]]], rtol=1e-6)


def test_returns_step_over_segments_that_are_not_there():
    there = jnp.asarray([[[1, 0, 1]]], bool)
    got = segment.to_go(jnp.asarray([[[jnp.nan, 5.0, 1.0]]]), there, discount=0.5)
    np.testing.assert_array_equal(got, [[[0.5, 0, 1]]])


def test_a_completions_reward_is_paid_at_its_last_segment():
    np.testing.assert_array_equal(segment.at_last(jnp.asarray([[2.0, 3.0]]), THERE), [[[0, 0, 2], [0, 3, 0]]])


def test_classes_are_equal_where_all_keys_are():
    first = jnp.asarray([[[4, 1], [4, 4]]])
    second = jnp.asarray([[[7, 7], [7, 8]]])
    got = np.asarray(segment.classes(first, second)).ravel()
    assert got[0] == got[2]
    assert len(set(got)) == 3
    assert sorted(set(got)) == [0, 1, 2]


def test_a_state_of_minus_one_is_like_no_other():
    got = segment.classes(segment.by_state(jnp.asarray([[[-1, 3], [-1, 3]]])))
    assert len(set(np.asarray(got).ravel())) == 3


def test_classes_of_groups_are_groups():
    group_ids = jnp.asarray([5, 2, 5])
    there = jnp.ones((3, 2, 1), bool)
    values = jnp.asarray([[0.1, 0.7], [3.0, 2.0], [0.5, 0.9]])
    members = segment.classes(segment.by_group(group_ids, there))
    for got, expected in (
        (segment.centered(values[..., None], there, members), advantage.group_centered(values, group_ids)),
        (segment.zscore(values[..., None], there, members), advantage.group_zscore(values, group_ids)),
        (
            segment.average(values[..., None], there, members) * jnp.asarray([4.0, 2.0, 4.0])[:, None, None],
            jnp.broadcast_to(group.total(values, group_ids)[:, None], values.shape),
        ),
    ):
        np.testing.assert_allclose(got[..., 0], expected, rtol=1e-5)


def test_what_is_not_counted_is_in_no_statistic():
    values = jnp.asarray([[[1.0, jnp.nan, 3.0]]])
    counted = jnp.asarray([[[1, 0, 1]]], bool)
    members = jnp.zeros((1, 1, 3), int)
    np.testing.assert_array_equal(segment.centered(values, counted, members), [[[-1, 0, 1]]])
    np.testing.assert_array_equal(segment.average(values, counted, members), [[[2, 0, 2]]])
    np.testing.assert_allclose(
        segment.zscore(values, counted, members, eps=0.0), [[[-(0.5**0.5), 0, 0.5**0.5]]], rtol=1e-6
    )


def test_equal_values_and_single_ones_have_exactly_nothing():
    values = jnp.full((1, 3, 1), 0.1)
    members = jnp.asarray([[[0], [0], [1]]])
    np.testing.assert_array_equal(segment.zscore(values, values > 0, members), np.zeros((1, 3, 1)))
    np.testing.assert_array_equal(segment.zscore(values, values > 1, members), np.zeros((1, 3, 1)))


def test_no_gradient_flows():
    def loss(values):
        counted, members = jnp.ones((1, 3, 1), bool), jnp.zeros((1, 3, 1), int)
        return jnp.sum(jnp.arange(3.0)[None, :, None] * segment.zscore(values, counted, members))

    np.testing.assert_array_equal(jax.grad(loss)(jnp.asarray([[[1.0], [2.0], [4.0]]])), np.zeros((1, 3, 1)))


def test_fingerprints_are_of_tokens_in_their_order():
    words = jnp.asarray([[[1, 2, 2, 1, 1, 2, 3], [3, 1, 2, 0, 0, 0, 0]]])
    ids = jnp.asarray([[[0, 0, 1, 1, 2, 2, 2], [-1, 0, 0, -1, -1, -1, -1]]])
    mask = jnp.asarray([[[1, 1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0]]], bool)
    got = np.asarray(segment.fingerprint(words, ids, mask, 3))
    assert got[0, 0, 0] == got[0, 0, 2] == got[0, 1, 0] != got[0, 0, 1]
    assert (got >= 0).all()


def test_prefixes_are_equal_as_long_as_all_before_is():
    words = jnp.asarray([[[1, 2, 3, 4], [1, 2, 5, 4]]])
    ids, mask = jnp.asarray([[[0, 0, 1, 2], [0, 0, 1, 2]]]), jnp.ones((1, 2, 4), bool)
    got = np.asarray(segment.prefix(words, ids, mask, 3))[0]
    np.testing.assert_array_equal(got[0] == got[1], [True, True, False])
    assert len(set(got[0])) == 3


def test_a_rollout_without_segments_is_refused_in_words():
    stats = types.TokenStats(logps=X, entropy=X)
    lengths = jnp.asarray([[7, 2]])
    groups = types.Groups(jnp.ones((1, 1), int), jnp.ones(1, int), IDS, lengths, MASK, jnp.zeros(1, int))
    rollout = types.Rollout(groups, stats, jnp.zeros((1, 2), bool))
    with pytest.raises(ValueError, match="GiGPO credits the parts"):
        segment.required(rollout, "GiGPO")
