import pytest

from posttrain_jax.data import tasks
from posttrain_jax.rewards import extract, sample, task_answer

SMALL = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}


def generate(**changes):
    options = {"train": 20, "held_out": 10, "seed": 0, "config": SMALL, "template": "Q: {question}\nA: "} | changes
    return tasks.generate("chain_sum", **options)


def questions(rows):
    return [row["question"] for row in rows]


def test_held_out_questions_are_no_training_questions():
    split = generate(train=60, held_out=20)
    assert (len(split.train), len(split.held_out)) == (60, 20)
    assert len(set(questions(split.train + split.held_out))) == 80


def test_the_seed_decides_and_the_held_out_part_does_not_depend_on_the_training_part():
    assert generate() == generate()
    assert questions(generate().train) != questions(generate(seed=1).train)
    assert generate(train=5).held_out == generate(train=40).held_out


def test_prompt_and_score():
    example = generate().train[0]
    assert example["prompt"] == f"Q: {example['question']}\nA: "
    reward = task_answer.TaskAnswer("chain_sum", extract=extract.whole, config=SMALL)
    assert reward(sample.Sample(example["prompt"], example["answer"], example, 1, False)) == 1


def test_an_exhausted_task_ends_in_a_sentence():
    with pytest.raises(ValueError, match=r"task 'chain_sum' gave \d+ distinct questions in \d+ draws, but 1000"):
        generate(train=1000)


def test_a_template_without_a_place_for_the_question_is_refused():
    with pytest.raises(ValueError, match=r"template 'Q:' does not say where \{question\} stands"):
        tasks.generate("chain_sum", train=1, held_out=1, seed=0, config=SMALL, template="Q:")
