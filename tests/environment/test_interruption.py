import pytest

from posttrain_jax.environment import dialogue, interruption
from posttrain_jax.rewards import sample

STOP = interruption.Interruption("\nTime is up.</think>")


def said(*turns):
    return dialogue.Dialogue({}, tuple(sample.Turn(*turn) for turn in turns), memory="kept")


def test_a_thought_without_an_end_is_ended_once():
    assert STOP(said(("<think>well",))) == dialogue.Reply("\nTime is up.</think>", memory="kept")
    assert STOP(said(("<think>well</think>4",))).text is None
    assert STOP(said(("<think>well", "\nTime is up.</think>"), ("4",))).text is None


def test_other_turns_go_to_the_environment_that_is_held():
    tools = interruption.Interruption("so</think>", of=lambda asked: dialogue.Reply("4", calls=1))
    assert tools(said(("<think>well</think>2+2]",))).text == "4"
    assert tools(said(("<think>well",))).calls == 0


def test_a_phrase_that_ends_no_thought_is_refused():
    with pytest.raises(ValueError, match="does not hold '</think>'"):
        interruption.Interruption("Time is up.")
