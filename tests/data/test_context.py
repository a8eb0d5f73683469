import fake_tokenizer as fake
import numpy as np
import pytest

from posttrain_jax.data import batch, column, context, encode, fields


def test_what_prompts_share_is_encoded_once_and_the_rest_is_not_learned():
    row = context.join(4, [([1, 5, 6], [9, 2]), ([1, 5, 7, 8], [9, 3, 2]), ([1, 5, 6], [])])
    np.testing.assert_array_equal(row.prompt, [1, 5])
    assert [ids.tolist() for ids in row.completions] == [[6, 9, 2], [7, 8, 9, 3, 2], []]
    assert row.given == (1, 2, 0)
    groups = batch.Pad([batch.Bucket(4, 6)], pad_id=0, group_size=3)([row], slice(0, 2))
    mask = groups.completion_mask[0].astype(int).tolist()
    assert mask == [[0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(groups.completion_lengths[0], [3, 5, 0])


def test_each_completion_reads_what_it_would_read_alone():
    parts = [([1, 5, 6], [9, 2]), ([1, 5, 7, 8], [9, 3, 2])]
    row = context.join(0, parts)
    for (prompt, completion), ids in zip(parts, row.completions, strict=True):
        assert [*row.prompt.tolist(), *ids.tolist()] == prompt + completion


def test_one_prompt_is_an_ordinary_row():
    row = context.join(0, [([1, 5], [9, 2]), ([1, 5], [3, 2])])
    np.testing.assert_array_equal(row.prompt, [1, 5])
    assert row.given == (0, 0)


def test_rationales_are_learned_after_both_answers():
    words = fake.Characters()
    preference = fields.Preference("why", "good", "bad")
    row = context.with_rationale(0, preference, "true", words)
    assert words.decode(row.prompt.tolist()) == "why"
    chosen, rejected, why = (words.decode(ids.tolist()) for ids in row.completions)
    assert (chosen, rejected) == ("good", "bad")
    assert why.startswith("\n\nAnswer A: good\n\nAnswer B: bad")
    learned = row.completions[2][row.given[2] :].tolist()
    assert learned == words.render_completion("true")
    assert len(context.with_rationale(0, preference, " ", words).completions[2]) == 0


def test_contrasts_differ_in_what_they_ask_for():
    better, worse = (text.format(prompt="p", completion="c") for text in (context.BETTER, context.WORSE))
    assert better.startswith("p\n\nAnswer: c")
    assert better.replace("more", "less").replace("better", "worse") == worse


def test_contrasts_are_about_each_completion():
    words = fake.Characters()
    better, worse = context.contrast(fields.Preference("p", "good", "bad"), words, width=200)
    assert better.shape == worse.shape == (2, 200)
    assert words.decode(column.ids(better[0]).tolist()) == context.BETTER.format(prompt="p", completion="good")
    assert words.decode(column.ids(worse[1]).tolist()) == context.WORSE.format(prompt="p", completion="bad")
    with pytest.raises(ValueError, match="column of 9"):
        context.contrast(fields.Preference("p", "good", "bad"), words, width=9)
    with pytest.raises(ValueError, match="render the messages"):
        context.contrast(fields.Preference([{"role": "user", "content": "x"}], "a", "b"), words, width=9)


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(ValueError, match="begin with a BOS"):
        context.join(0, [([3], [1]), ([4], [1])])
    with pytest.raises(ValueError, match="render the messages"):
        context.with_rationale(
            0, fields.Preference([{"role": "user", "content": "x"}], "a", "b"), "c", fake.Characters()
        )
    assert encode.TokenRow(np.zeros(1, np.int32), (), 0).given is None
