"""Unpaired and listwise data: fields, token rows, columns of the batch, and a run of each through the loop's types."""

import fake_tokenizer as fake
import numpy as np
import pytest

from posttrain_jax.data import batch, encode, fields, labelled, preferences, rankings

LIMITS = encode.Limits(8, 8)


def padded(rows, group_size):
    pad = batch.Pad([batch.Bucket(8, 8)], 0, group_size)
    return pad(rows, slice(0, len(rows) + 1))


def test_labels_become_a_column_and_filling_rows_have_none():
    rows = [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "a", "completion": "cd", "label": 0}]
    encoded, report = labelled.encode(rows, fields.LabelledFields(), fake.Characters(), LIMITS)
    assert report.rows == 2
    groups = padded(encoded, 1)
    np.testing.assert_array_equal(groups.columns["desirable"], [1, 0, 0])
    np.testing.assert_array_equal(groups.completion_lengths[:, 0], [2, 3, 0])


@pytest.mark.parametrize("label", ["yes", 2, None, 0.5])
def test_labels_that_are_none_are_refused(label):
    with pytest.raises(ValueError, match="a label is true or false, 1 or 0"):
        fields.LabelledFields()({"prompt": "a", "completion": "b", "label": label})


def test_rankings_are_sorted_by_their_scores():
    read = fields.RankingFields(scores="marks")
    ranking = read({"prompt": "p", "completions": ["x", "y", "z"], "marks": [1, 3, 2]})
    assert ranking == fields.Ranking("p", ["y", "z", "x"], [3.0, 2.0, 1.0])
    assert fields.RankingFields()({"prompt": "p", "completions": ["x", "y"]}) == fields.Ranking("p", ["x", "y"], None)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"completions": "xy", "marks": [1, 2]}, "not a list of two or more texts"),
        ({"completions": ["x"], "marks": [1]}, "not a list of two or more texts"),
        ({"completions": ["x", 3], "marks": [1, 2]}, "'completions' holds int 3, not text"),
        ({"completions": ["x", "y"], "marks": [1]}, "give 2 scores that all differ"),
        ({"completions": ["x", "y"], "marks": [1, 1]}, "give 2 scores that all differ"),
        ({"completions": ["x", "y"], "marks": [1, float("nan")]}, "'marks' holds float nan, not a finite number"),
        ({"completions": ["x", "y"], "marks": [1, True]}, "'marks' holds bool True"),
    ],
)
def test_rankings_that_are_none_are_refused(row, words):
    with pytest.raises(ValueError, match=words):
        fields.RankingFields(scores="marks")({"prompt": "p"} | row)


def test_ragged_rankings_leave_the_last_places_empty():
    rows = [
        {"prompt": "a", "completions": ["b", "c"], "marks": [1, 2]},
        {"prompt": "a", "completions": ["b", "c", "d"], "marks": [9, 8, 7]},
    ]
    read = fields.RankingFields(scores="marks")
    encoded, _ = rankings.encode(rows, read, fake.Characters(), LIMITS, group_size=3)
    groups = padded(encoded, 3)
    np.testing.assert_array_equal(groups.completion_lengths, [[2, 2, 0], [2, 2, 2], [0, 0, 0]])
    np.testing.assert_array_equal(groups.columns["scores"], [[2, 1, 0], [9, 8, 7], [0, 0, 0]])
    with pytest.raises(ValueError, match="row 1: 3 completions do not fit into a group_size of 2"):
        rankings.encode(rows, read, fake.Characters(), LIMITS, group_size=2)


def test_scores_and_win_rates_of_pairs_become_columns():
    read = fields.PreferenceFields(scores=("up", "down"), win_rates=("won", "lost"))
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b", "up": 2, "down": -1.5, "won": 0.9, "lost": 0.2}]
    encoded, _ = preferences.encode(rows, read, fake.Characters(), LIMITS)
    groups = padded(encoded, 2)
    np.testing.assert_array_equal(groups.columns["scores"], [[2, -1.5], [0, 0]])
    np.testing.assert_allclose(groups.columns["win_rates"], [[0.9, 0.2], [0, 0]], rtol=1e-6)
    with pytest.raises(ValueError, match="row 0: there is no field 'up'"):
        preferences.encode([{"prompt": "p", "chosen": "a", "rejected": "b"}], read, fake.Characters(), LIMITS)


def test_rows_with_other_columns_are_refused():
    one = encode.TokenRow(np.ones(1, np.int32), (np.ones(1, np.int32),), 0, {"desirable": np.asarray(1.0)})
    other = encode.TokenRow(np.ones(1, np.int32), (np.ones(1, np.int32),), 1)
    with pytest.raises(ValueError, match=r"row 1 has columns \[\], others \['desirable'\]"):
        padded([one, other], 1)
