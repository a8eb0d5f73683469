import making
import pytest

from posttrain_jax.rewards import diversity

TEXT = "The cat sat. The dog ran far away. Why did it run?"


def test_worked_numbers():
    got = diversity.scores(TEXT)
    expected = {
        "lexical": 0.916667,
        "entropy": 0.988109,
        "length": 0.204124,
        "adjacent": 0.928571,
        "yule": 0.007149,
        "distinct": 1.0,
    }
    assert {name: got[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert got["pattern"] == pytest.approx(0.636514 / 1.098612, abs=1e-5)


def test_texts_of_one_word_and_of_none():
    one = diversity.scores("Yes.")
    assert (one["entropy"], one["adjacent"], one["length"], one["distinct"], one["yule"]) == (0, 0, 0, 0, 1)
    assert set(diversity.scores("... ?").values()) == {0.0}


def test_the_reward_is_the_mean_and_between_nothing_and_one():
    assert diversity.Diversity()(making.make(TEXT)) == pytest.approx(sum(diversity.scores(TEXT).values()) / 8)
    assert diversity.scores("a. b b b b b b b b b b b b b.")["length"] <= 1


def test_saying_one_thing_again_and_again_is_less_varied():
    assert diversity.Diversity()(making.make(TEXT)) > diversity.Diversity()(making.make("so it is. " * 5))
