import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.data import batch, encode, prompts

BUCKETS = [batch.Bucket(4, 4), batch.Bucket(4, 8), batch.Bucket(8, 4), batch.Bucket(8, 8)]


def row(index, prompt, *completions):
    return encode.TokenRow(
        np.full(prompt, 7, np.int32), tuple(np.full(length, 9, np.int32) for length in completions), index
    )


def pad(group_size=2):
    return batch.Pad(BUCKETS, pad_id=0, group_size=group_size)


def test_arrays_by_hand():
    groups = pad()([row(5, 3, 2, 4), row(6, 1, 1, 3)], slice(0, 2))
    np.testing.assert_array_equal(groups.prompts, [[7, 7, 7, 0], [7, 0, 0, 0]])
    np.testing.assert_array_equal(groups.prompt_lengths, [3, 1])
    np.testing.assert_array_equal(groups.completions[0], [[9, 9, 0, 0], [9, 9, 9, 9]])
    np.testing.assert_array_equal(groups.completion_lengths, [[2, 4], [1, 3]])
    np.testing.assert_array_equal(groups.completion_mask, groups.completions == 9)
    np.testing.assert_array_equal(groups.group_ids, [5, 6])


def test_masks_come_from_lengths_and_not_from_the_padding_id():
    groups = batch.Pad(BUCKETS, pad_id=9, group_size=1)([row(0, 1, 2)], slice(0, 1))
    np.testing.assert_array_equal(groups.completions[0, 0], [9, 9, 9, 9])
    np.testing.assert_array_equal(groups.completion_mask[0, 0], [True, True, False, False])


@pytest.mark.parametrize(
    ("lengths", "shape"), [((4, 4), (4, 4)), ((5, 4), (8, 4)), ((4, 5), (4, 8)), ((5, 5), (8, 8)), ((1, 1), (4, 4))]
)
def test_smallest_bucket(lengths, shape):
    groups = pad(1)([row(0, *lengths)], slice(0, 1))
    assert (groups.prompts.shape[1], groups.completions.shape[2]) == shape


def test_no_bucket_fits():
    with pytest.raises(ValueError, match="needs 9 prompt and 1 completion tokens and fits none"):
        pad(1)([row(0, 9, 1)], slice(0, 1))


def test_processes_agree_on_the_shape_and_share_the_rows():
    rows = [row(0, 1, 1, 1), row(1, 8, 1, 1), row(2, 1, 8, 1), row(3, 1, 1, 2)]
    whole = pad()(rows, slice(0, 4))
    halves = [pad()(rows, slice(0, 2)), pad()(rows, slice(2, 4))]
    for name in ("prompts", "completions", "completion_mask", "group_ids"):
        np.testing.assert_array_equal(
            np.concatenate([vars(half)[name] for half in halves]), vars(whole)[name], err_msg=name
        )


def test_a_short_batch_is_filled_up_with_rows_that_count_for_nothing():
    groups = pad()([row(3, 2, 2, 2)], slice(0, 4))
    assert groups.prompts.shape == (4, 4)
    assert not groups.completion_mask[1:].any()
    np.testing.assert_array_equal(groups.group_ids, [3, -1, -1, -1])
    np.testing.assert_array_equal(groups.prompt_lengths, [2, 1, 1, 1])
    nothing = pad()([row(3, 2, 2, 2)], slice(2, 4))
    assert nothing.prompts.shape == (2, 4)
    assert not nothing.completion_mask.any()


def test_to_device_keeps_every_field():
    groups = pad()([row(5, 3, 2, 4)], slice(0, 1))
    device = groups.to_device(jnp.asarray)
    for name, array in vars(groups).items():
        if name == "columns":  # beside the groups
            continue
        np.testing.assert_array_equal(vars(device)[name], array, err_msg=name)


def test_prompts_alone():
    rows = [prompts.PromptRow(row(index, length), "text", {"index": index}) for index, length in [(4, 3), (9, 6)]]
    collated = prompts.Pad(lengths=[4, 8], pad_id=0)(rows, slice(0, 4))
    assert collated.prompts.shape == (4, 8)
    np.testing.assert_array_equal(collated.row_mask, [True, True, False, False])
    np.testing.assert_array_equal(collated.prompt_lengths, [3, 6, 1, 1])
    np.testing.assert_array_equal(collated.group_ids, [4, 9, -1, -1])
    assert [kept.example["index"] for kept in collated.rows] == [4, 9]
    assert [kept.example["index"] for kept in prompts.Pad([8], 0)(rows, slice(1, 2)).rows] == [9]
