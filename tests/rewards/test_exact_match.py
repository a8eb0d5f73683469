import math

import making
import pytest

from posttrain_jax.rewards import exact_match, extract


@pytest.mark.parametrize(
    ("answer", "completion", "score"),
    [("4", " 4\n", 1), ("4", "4.", 0), ("4", "", 0), (["four", "4"], "4", 1), (["", "4"], "", 0), ("a b", "a  b", 0)],
)
def test_strip(answer, completion, score):
    assert exact_match.ExactMatch()(making.make(completion, answer=answer)) == score


@pytest.mark.parametrize("answer", ["", " ", []])
def test_no_gold_is_nan(answer):
    assert math.isnan(exact_match.ExactMatch()(making.make("4", answer=answer)))


def test_plain_words():
    reward = exact_match.ExactMatch(normalise=exact_match.plain_words)
    assert reward(making.make("the  Cat, sat.", answer="A cat sat")) == 1
    assert reward(making.make("cats sat", answer="A cat sat")) == 0
    assert math.isnan(reward(making.make("x", answer="The!")))


def test_extraction_and_field():
    reward = exact_match.ExactMatch(extract=extract.LastTag(), answer_field="gold")
    assert reward(making.make("<answer>4</answer>", gold="4")) == 1
    assert reward(making.make("4", gold="4")) == 0
    with pytest.raises(ValueError, match="no field 'gold'; it has answer"):
        reward(making.make("4", answer="4"))
