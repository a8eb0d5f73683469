import pytest

from posttrain_jax.data import fields, judgement
from posttrain_jax.models import vocabulary

WORDS = vocabulary.characters("".join(map(chr, range(32, 127))) + "\n")
PAIR = fields.Preference("Say hi.", "hi", "go away")


def test_both_orders_are_behind_one_prompt():
    row = judgement.both_orders(3, PAIR, WORDS)
    assert row.index == 3
    assert WORDS.decode(row.prompt.tolist()) == "Say hi."
    first, second = (WORDS.decode(ids.tolist()) for ids in row.completions)
    assert first == "\n\nAnswer A: hi\n\nAnswer B: go away\n\nWhich answer is better?"
    assert second == "\n\nAnswer A: go away\n\nAnswer B: hi\n\nWhich answer is better?"


@pytest.mark.parametrize(("chosen_first", "right"), [(True, "A"), (False, "B")])
def test_the_right_verdict_names_the_chosen(chosen_first, right):
    row = judgement.verdicts(0, PAIR, WORDS, chosen_first=chosen_first)
    assert f"Answer {right}: hi\n" in WORDS.decode(row.prompt.tolist())
    assert [WORDS.decode(ids.tolist()) for ids in row.completions] == ([right, "B" if right == "A" else "A"])


def test_messages_are_refused():
    messages = fields.Preference([{"role": "user", "content": "Say hi."}], "hi", "go away")
    with pytest.raises(ValueError, match="render the messages first"):
        judgement.both_orders(0, messages, WORDS)
