import pytest

from posttrain_jax.data import steps
from posttrain_jax.rewards import extract, overlap, retrieval, route, sample


def made(completion, row):
    return sample.Sample(prompt="", completion=completion, example=row, completion_tokens=1, truncated=False)


ROWS = steps.unroll("who wrote it?", [steps.Step("what is it?", "image", "Faust")], "Goethe")


def test_each_step_has_the_gold_history_of_those_before():
    first, last = ROWS
    assert first["prompt"] == "Question: who wrote it?"
    assert first["step_type"] == "retrieve"
    assert last["prompt"].endswith("Asked of image: what is it?\nFound: Faust")
    assert last["answer"] == "Goethe"


def test_a_question_of_one_step_is_a_question():
    assert steps.unroll("q", [], "a") == [{"prompt": "Question: q", "step": 0, "step_type": "answer", "answer": "a"}]


def test_each_kind_of_step_has_its_reward():
    ask = retrieval.SubQuestion(lambda text: [float(len(text)), 1.0], sources=("image",))
    answer = overlap.AnswerRecall(extract=extract.whole)
    reward = route.Routed("step_type", {"retrieve": ask, "answer": answer})
    said = "<sub-question>what is it?</sub-question><ret>image</ret>"
    assert reward(made(said, ROWS[0])) == pytest.approx(1)
    assert reward(made("Goethe", ROWS[1])) == 1


def test_a_question_turned_round():
    options = {"A": "cat", "B": "dog", "C": "cow"}
    got = steps.invert("Which is it?", "Which is it not?", options, "B", ["C"])
    assert got["prompt"] == "Which is it not?\nB. dog\nC. cow"
    assert got["answer"] == "C"
    with pytest.raises(ValueError, match="at least one"):
        steps.invert("q", "not q", options, "B", ["B"])
