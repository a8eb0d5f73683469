import making
import pytest

from posttrain_jax.rewards import combine, listener


def listen(prompt, heard):
    assert prompt == ""
    return [1.0, 0.0] if heard == "it is round" else [0.0, 1000.0]


REWARD = listener.Listener(listen)
TEXT = "<think>it is round</think><answer>A</answer>"


def test_the_right_choices_share_of_what_the_listener_says():
    assert REWARD(making.make(TEXT, gold=0)) == pytest.approx(0.731059, abs=1e-6)
    assert REWARD(making.make(TEXT, gold=1)) == pytest.approx(1 - 0.731059, abs=1e-6)
    assert REWARD(making.make("<think>x</think>", gold=0)) == 0


def test_without_a_thought_there_is_nothing_to_hear():
    assert REWARD(making.make("it is round", gold=0)) == 0


def test_the_papers_sum():
    one = (1.0, lambda sample: 1.0)
    terms = combine.WeightedRewards({"form": one, "correct": (0.5, one[1]), "listener": (0.5, REWARD)})
    scores = [reward(making.make(TEXT, gold=0)) for reward in terms.rewards if callable(reward)]
    assert sum(w * x for w, x in zip(terms.weights, scores, strict=True)) == pytest.approx(1.86553, abs=1e-5)
