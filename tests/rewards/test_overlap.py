import math

import making
import pytest

from posttrain_jax.rewards import extract, overlap

GOLD = "The cat sat, there"


@pytest.mark.parametrize(
    ("measure", "answer", "score"),
    [
        (overlap.f1, "a cat sat there", 1),
        (overlap.f1, "cat here", 2 / 5),
        (overlap.recall, "cat cat cat", 1 / 3),
        (overlap.contains, "look: cat sat there!", 1),
        (overlap.contains, "sat cat there", 0),
        (overlap.f1, "!", 0),
        (overlap.jaccard, "cat dog", 1 / 4),
    ],
)
def test_shares_of_words(measure, answer, score):
    assert overlap.Overlap(measure)(making.make(answer, answer=GOLD)) == pytest.approx(score)


@pytest.mark.parametrize(("answer", "score"), [("A", 0.5), ("c, A", 1), ("A,B", 0), ("B", 0), (" , ", 0)])
def test_letters_of_several_right_ones(answer, score):
    assert overlap.Overlap(overlap.subset, overlap.letters)(making.make(answer, answer="A,C")) == score


def test_the_best_of_several_golds_counts_and_empty_gold_is_no_gold():
    reward = overlap.Overlap(overlap.f1, extract=extract.LastTag())
    assert reward(making.make("<answer>up</answer>", answer=["down", "up"])) == 1
    assert reward(making.make("up", answer=["down", "up"])) == 0
    assert math.isnan(reward(making.make("<answer>up</answer>", answer=["", "the"])))


def test_short_golds_are_all_or_nothing():
    reward = overlap.AnswerRecall(extract=extract.whole)
    long = "one two three four five six"
    assert reward(making.make("one two three", answer=long)) == 0.5
    assert reward(making.make("one two three", answer="one two three four")) == 0
    assert reward(making.make("four one two three", answer="one two three four")) == 1
    assert reward(making.make("one two three", answer=[long])) == 0
    assert math.isnan(reward(making.make("one", answer="")))
