import functools

import fake_tokenizer as fake
import numpy as np
import pytest
import rich

from posttrain_jax.data import demonstrations, encode, fields, preferences, prompts

READ = fields.DemonstrationFields()


def rows(*pairs):
    return [{"prompt": prompt, "completion": completion} for prompt, completion in pairs]


def ids(text):
    return [ord(character) for character in text]


def test_demonstrations_by_hand():
    encoded, report = demonstrations.encode(rows(("ab", "cd")), READ, fake.Characters(), encode.Limits(8, 8))
    (row,) = encoded
    assert row.prompt.tolist() == [1, 97, 98]
    assert [completion.tolist() for completion in row.completions] == [[99, 100, 2]]
    assert row.index == 0
    assert report == encode.EncodeReport(rows=1, cut_prompts=0, cut_completions=0, left_out=0, bad=0)


def test_prompts_are_cut_on_the_left_and_keep_their_one_bos():
    encoded, report = demonstrations.encode(rows(("abcdefgh", "x")), READ, fake.Characters(), encode.Limits(5, 8))
    assert encoded[0].prompt.tolist() == [1, *ids("efgh")]
    assert report.cut_prompts == 1
    encoded, _ = demonstrations.encode(rows(("abcdefgh", "x")), READ, fake.Characters(None), encode.Limits(5, 8))
    assert encoded[0].prompt.tolist() == ids("defgh")


def test_completions_are_cut_on_the_right_without_a_false_end():
    encoded, report = demonstrations.encode(
        rows(("a", "abc"), ("a", "abcd")), READ, fake.Characters(), encode.Limits(8, 4)
    )
    assert [row.completions[0].tolist() for row in encoded] == [[*ids("abc"), 2], ids("abcd")]
    assert report.cut_completions == 1


def test_policies():
    data = rows(("abcdefgh", "x"), ("a", "abcdefgh"), ("a", "b"))
    limits = functools.partial(encode.Limits, 5, 5)
    encoded, report = demonstrations.encode(
        data, READ, fake.Characters(), limits(long_prompt=encode.leave_out, long_completion=encode.leave_out)
    )
    assert [row.index for row in encoded] == [2]
    assert report == encode.EncodeReport(rows=1, cut_prompts=0, cut_completions=0, left_out=2, bad=0)
    with pytest.raises(ValueError, match="row 0: 8 tokens exceed the limit of 4"):
        demonstrations.encode(data, READ, fake.Characters(), limits(long_prompt=encode.refuse))
    with pytest.raises(ValueError, match="row 1: 9 tokens exceed the limit of 5"):
        demonstrations.encode(data, READ, fake.Characters(), limits(long_completion=encode.refuse))
    with pytest.raises(ValueError, match="none of the 1 rows is fit and within the limits of 5 prompt"):
        demonstrations.encode(data[:1], READ, fake.Characters(), limits(long_prompt=encode.leave_out))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "a", "completion": ""}, "row 1: the completion is empty"),
        ({"prompt": "a", "completion": " \n"}, "row 1: the completion is empty"),
        ({"prompt": "", "completion": "a"}, "row 1: the prompt is empty"),
        ({"promt": "a", "completion": "a"}, "row 1: there is no field 'prompt'; the row has 'promt', 'completion'"),
    ],
)
def test_bad_rows_are_named_or_counted(row, told):
    data = [*rows(("a", "b")), row, *rows(("c", "d"))]
    tokenizer = fake.Characters(None)
    with pytest.raises(ValueError, match=told):
        demonstrations.encode(data, READ, tokenizer, encode.Limits(8, 8))
    encoded, report = demonstrations.encode(data, READ, tokenizer, encode.Limits(8, 8), max_bad_fraction=0.34)
    assert [kept.index for kept in encoded] == [0, 2]
    assert report.bad == 1
    with pytest.raises(ValueError, match=told):
        demonstrations.encode([*data, row], READ, tokenizer, encode.Limits(8, 8), max_bad_fraction=0.34)


def test_pairs_of_the_same_tokens_are_counted_and_nothing_but_such_is_refused(capsys):
    pairs = [("abc", "abd"), ("abc", "xyz"), ("q", "q")]
    data = [{"prompt": "p", "chosen": a, "rejected": b} for a, b in pairs]
    make = functools.partial(preferences.encode, read=fields.PreferenceFields(), tokenizer=fake.Characters())
    assert make(data, limits=encode.Limits(8, 8))[1].equal == 1
    report = make(data, limits=encode.Limits(8, 2))[1]  # "ab" twice
    assert report.equal == 2
    rich.print(report)
    assert capsys.readouterr().out == "EncodeReport(rows=3, cut_completions=4, equal=2)\n"
    same = r"in all 1 rows the completions are the same tokens within the limit of 2, .*: raise the limit, or mend"
    with pytest.raises(ValueError, match=same):
        make(data[:1], limits=encode.Limits(8, 2))


def test_preferences():
    data = [{"prompt": "p", "chosen": "yes", "rejected": "no"}]
    encoded, _ = preferences.encode(data, fields.PreferenceFields(), fake.Characters(), encode.Limits(8, 8))
    assert encoded[0].prompt.tolist() == [1, *ids("p")]
    assert [completion.tolist() for completion in encoded[0].completions] == [[*ids("yes"), 2], [*ids("no"), 2]]


def test_messages_go_through_the_chat_template():
    data = [{"prompt": "p", "chosen": "yes", "rejected": "no"}]
    read = fields.PreferenceFields(fields.PromptFields(chat=True))
    encoded, _ = preferences.encode(data, read, fake.Characters(), encode.Limits(64, 8))
    assert encoded[0].prompt.tolist() == [1, *ids("[user]p[assistant]")]
    assert encoded[0].completions[1].tolist() == [*ids("no"), 2]


class Fickle(fake.Characters):
    """Its template writes the answer's length into the prompt."""

    def render_example(self, messages):
        prompt, completion = super().render_example(messages)
        return [*prompt, len(completion)], completion


def test_a_template_that_lets_the_answer_change_the_prompt_is_refused():
    read = fields.PreferenceFields(fields.PromptFields(chat=True))
    with pytest.raises(ValueError, match="row 0: the chat template renders the prompt differently"):
        preferences.encode([{"prompt": "p", "chosen": "yes", "rejected": "no"}], read, Fickle(), encode.Limits(64, 8))


def test_prompts_carry_text_and_example():
    data = [{"prompt": "p", "answer": "4"}, {"prompt": [{"role": "user", "content": "q"}], "answer": "5"}]
    encoded, report = prompts.encode(data, fields.PromptFields(), fake.Characters(), encode.Limits(32, 1))
    assert [row.text for row in encoded] == ["p", "[user]q[assistant]"]
    assert [row.example["answer"] for row in encoded] == ["4", "5"]
    assert report.rows == 2
    cut, _ = prompts.encode([{"prompt": "abcdef"}], fields.PromptFields(), fake.Characters(), encode.Limits(4, 1))
    assert cut[0].text == "def"  # what the model is given, and no more


def test_limits_leave_room():
    with pytest.raises(ValueError, match="leave no room"):
        encode.Limits(8, 0)
    assert encode.keep_end([1, 2, 3], 3) == [1, 2, 3]
    np.testing.assert_array_equal(encode.keep_start([1, 2, 3], 2), [1, 2])
