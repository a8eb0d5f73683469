import pytest
from errands import BOX, FRAME

from posttrain_jax.environment import dialogue
from posttrain_jax.rollout import rehearsal

ASKED = {"prompt": "a+7=", "table": {"a": "52"}, "answer": "59"}


def test_each_turn_is_asked_for_behind_what_tools_said_to_those_before():
    rows = rehearsal.unroll(BOX, ASKED, ["?a]", "52+7]", "59"], FRAME)
    assert [(row["prompt"], row["answer"], row["step"], row["steps"]) for row in rows] == [
        ("a+7=", "?a]", 0, 3),
        ("a+7=?a](52)", "52+7]", 1, 3),
        ("a+7=?a](52)52+7](59)", "59", 2, 3),
    ]
    assert all(row["table"] == ASKED["table"] for row in rows)


def test_a_question_of_one_turn_stays_as_it_is():
    assert rehearsal.unroll(BOX, ASKED, ["59"]) == [ASKED | {"step": 0, "steps": 1}]


def test_what_an_environment_remembers_goes_on():
    def counting(asked):
        seen = (asked.memory or 0) + 1
        assert len(asked.turns) == seen
        assert [turn.reply for turn in asked.turns] == [f"({n})" for n in range(1, seen)] + [""]
        return dialogue.Reply(str(seen), memory=seen)

    rows = rehearsal.unroll(counting, {"q": ">"}, ["x", "y", "z"], FRAME, prompt="q", answer="said")
    assert rows[2]["q"] == ">x(1)y(2)"
    assert [row["said"] for row in rows] == ["x", "y", "z"]


def test_a_dialogue_that_ends_too_early_is_refused():
    with pytest.raises(ValueError, match="ends the dialogue at '59', and 'more' was to come"):
        rehearsal.unroll(BOX, ASKED, ["59", "more"])
