"""Rows of every kind that preferences are learned from, from the fields of a data set to the arrays of a batch."""

import fake_tokenizer as fake
import numpy as np
import pytest

from posttrain_jax.data import batch, column, context, curriculum, document, encode, fields, phrases, reading

LIMITS = encode.Limits(16, 8)
PAIR = {"prompt": "a", "chosen": "bc", "rejected": "bd"}
LIST = {"prompt": "a", "completions": ["b", "cd"], "marks": [1, 3]}


def made(kind, rows, limits=LIMITS, **more):
    return reading.encode(kind, rows, fake.Characters(), limits, **more)


def padded(kind, rows, limits=LIMITS):
    """The batch of the rows and of one that fills it up."""
    tokens, _ = made(kind, rows, limits)
    pad = batch.Pad([batch.Bucket(limits.prompt, limits.completion)], 0, kind.group_size)
    return pad(tokens, slice(0, len(rows) + 1))


def text(ids):
    return fake.Characters().decode(np.asarray(ids).tolist())


@pytest.mark.parametrize(
    ("kind", "rows", "lengths"),
    [
        (reading.Pairs(), [PAIR], [3, 3]),
        (reading.Demonstrated(), [{"prompt": "a", "completion": "bc"}], [3]),
        (reading.Labelled(), [{"prompt": "a", "completion": "bc", "label": True}], [3]),
        (reading.Ranked(), [LIST], [2, 3, 0, 0]),
        (reading.Ranked(fields.RankingFields(scores="marks"), 2), [LIST], [3, 2]),
        (reading.Listed({"grades": "marks"}, group_size=3), [LIST], [2, 3, 0]),
        (reading.Differing(), [PAIR], [3, 3]),
        (reading.Contrasted(), [PAIR], [3, 3]),
    ],
)
def test_completions_stand_in_their_places(kind, rows, lengths):
    assert isinstance(kind, reading.Reading)
    groups = padded(kind, rows)
    np.testing.assert_array_equal(groups.completion_lengths, [lengths, [0] * len(lengths)])
    assert text(groups.prompts[0]) == "a"


def test_numbers_of_rows_and_of_completions_become_columns():
    rows = [PAIR | {"rater": 7, "odds": [0.5, -1]}]
    groups = padded(reading.Pairs(numbers={"annotator": "rater", "log_odds": "odds"}), rows)
    np.testing.assert_array_equal(groups.columns["annotator"], [7, 0])
    np.testing.assert_array_equal(groups.columns["log_odds"], [[0.5, -1], [0, 0]])
    scored = fields.PreferenceFields(scores=("up", "down"))
    both = padded(reading.Pairs(scored, {"annotator": "rater"}), [rows[0] | {"up": 2, "down": 1}])
    np.testing.assert_array_equal(both.columns["scores"][0], [2, 1])


def test_labels_and_grades_are_columns_and_scores_that_sort_are_none():
    assert padded(reading.Labelled(), [{"prompt": "a", "completion": "b", "label": 1}]).columns["desirable"][0] == 1
    graded = padded(reading.Listed({"grades": "marks"}, group_size=3), [LIST])
    np.testing.assert_array_equal(graded.columns["grades"], [[1, 3, 0], [0, 0, 0]])
    assert not padded(reading.Ranked(fields.RankingFields(scores="marks")), [LIST]).columns


def test_tokens_that_differ_are_marked():
    tokens, _ = made(reading.Pairs(), [PAIR])
    expected = phrases.mark(tokens, LIMITS)[0].columns["differing"]
    np.testing.assert_array_equal(padded(reading.Differing(), [PAIR]).columns["differing"][0], expected)
    np.testing.assert_array_equal(expected[:, :3], [[0, 1, 0], [0, 1, 0]])


def test_answers_are_shown_to_be_rewritten():
    columns = padded(reading.Contrasted(), [PAIR]).columns
    for name, template in (("better_prompt", context.BETTER), ("worse_prompt", context.WORSE)):
        for place, answer in enumerate(("bc", "bd")):
            asked = text(column.ids(columns[name][0, place]))
            assert asked == template.format(prompt="a", completion=answer)
    with pytest.raises(ValueError, match="does not go into a column of 40"):
        made(reading.Contrasted(width=40), [PAIR])


def test_parts_of_documents_are_short_prompts():
    row = {"document": "xyz", "part": "y", "instruction": "?", "chosen": "b", "rejected": "c"}
    groups = padded(reading.Excerpted(), [row])
    assert text(groups.prompts[0]) == document.PROMPT.format(document="xyz", instruction="?")
    short = column.ids(groups.columns["short_prompt"][0])
    assert text(short) == document.PROMPT.format(document="y", instruction="?")


def test_rationales_and_instructions_stand_behind_what_is_not_learned():
    wide = encode.Limits(16, 400)
    explained = padded(reading.Explained(), [PAIR | {"rationale": "so"}], wide)
    np.testing.assert_array_equal(explained.completion_mask.sum(-1)[0], [3, 3, 3])
    assert explained.completion_lengths[0, 2] > 50
    instructed = padded(reading.Instructed(), [PAIR], wide)
    np.testing.assert_array_equal(instructed.completion_mask.sum(-1)[0, :6], [3] * 6)
    assert abs(instructed.columns["favours"][0]) == 1


def test_rows_that_are_too_long_as_a_whole_are_left_out_and_counted():
    rows = [PAIR | {"rationale": "so"}, PAIR | {"rationale": ""}]
    tokens, report = made(reading.Explained(), rows)
    assert [row.index for row in tokens] == [1]
    assert (report.rows, report.left_out, report.cut_completions) == (1, 1, 0)


@pytest.mark.parametrize(
    ("kind", "row", "words"),
    [
        (reading.Pairs(numbers={"annotator": "rater"}), PAIR, "row 0: there is no field 'rater'"),
        (reading.Pairs(numbers={"annotator": "prompt"}), PAIR, "field 'prompt' holds str 'a', not a finite number"),
        (reading.Ranked(group_size=1), LIST, "2 completions do not fit into a group_size of 1"),
        (reading.Listed({"grades": "marks"}), LIST | {"marks": [1]}, "field 'marks' holds no list of 2 numbers"),
        (reading.Listed({"grades": "marks"}), LIST | {"marks": 1}, "field 'marks' holds no list of 2 numbers"),
        (reading.Excerpted(), PAIR, "there is no field 'document'"),
    ],
)
def test_rows_that_do_not_fit_are_refused_or_counted(kind, row, words):
    with pytest.raises(ValueError, match=words):
        made(kind, [row])


def test_a_stage_of_a_curriculum_is_one_pair_of_each_row():
    """The best of three against the worst, then against the other one; of two that score alike there is none."""
    rows = [{"prompt": "a", "completions": ["b", "cd", "efg"], "scores": [1, 9, 4]}]
    rows.append({"prompt": "a", "completions": ["b", "c"], "scores": [5, 5]})
    for stage, rejected in ((0, "b"), (1, "efg")):
        tokens, report = made(curriculum.Stage(stage), rows)
        assert [text(ids) for ids in tokens[0].completions] == ["cd", rejected]
        assert (report.rows, report.left_out) == (1, 1)
    with pytest.raises(ValueError, match="field 'scores' holds no list of 2 numbers"):
        made(curriculum.Stage(), [rows[1] | {"scores": [1]}])
    assert isinstance(curriculum.Stage(), reading.Reading)


def test_unfit_rows_may_be_left_out():
    tokens, report = made(
        reading.Labelled(), [{"prompt": "a", "completion": "b", "label": 1}, {}], max_bad_fraction=0.5
    )
    assert (len(tokens), report.bad) == (1, 1)
