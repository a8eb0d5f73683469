import pickle

import pytest
import reasoning_gym

from posttrain_jax.rewards import extract, sample, task_answer


def score(reward, completion, entry):
    return reward(sample.Sample("", completion, entry, 1, False))


def test_stored_answers_score_one_and_others_less():
    reward = task_answer.TaskAnswer("basic_arithmetic", extract=extract.LastTag())
    for entry in reasoning_gym.create_dataset("basic_arithmetic", seed=0, size=5):
        assert score(reward, f"so <answer>{entry['answer']}</answer>", entry) == 1
        assert score(reward, "<answer>no idea</answer>", entry) < 0.1
        assert score(reward, entry["answer"], entry) < 0.1


def test_answers_other_than_the_stored_one_may_be_right():
    config = {"min_numbers": 3, "max_numbers": 3}
    reward = task_answer.TaskAnswer("countdown", extract=extract.whole, config=config)
    (entry,) = reasoning_gym.create_dataset("countdown", seed=3, size=1, **config)
    assert score(reward, entry["metadata"]["expression"], entry) == 1
    assert score(reward, f"(({entry['metadata']['expression']}))", entry) == 1


def test_full_marks_removes_partial_credit():
    partial = task_answer.TaskAnswer("basic_arithmetic", extract=extract.whole)
    entry = {"question": "1 + 1", "answer": "2", "metadata": {}}
    assert 0 < score(partial, "is it 2?", entry) < 1
    assert score(task_answer.FullMarks(partial), "is it 2?", entry) == 0
    assert score(task_answer.FullMarks(partial), "2", entry) == 1
    assert pickle.loads(pickle.dumps(partial)).name == "basic_arithmetic"


def test_full_marks_keeps_nan():
    reward = task_answer.FullMarks(lambda _: float("nan"))
    assert score(reward, "", {}) != score(reward, "", {})


def test_unknown_task():
    with pytest.raises(ValueError, match="not registered"):
        score(task_answer.TaskAnswer("no_such_task", extract=extract.whole), "", {})
