import json
import math
import pathlib

import making
import math_verify
import pytest

from posttrain_jax.rewards import extract, math_answer, vote

GSM8K = pathlib.Path(__file__).parents[2].parent / "shared/data/gsm8k/test.jsonl"

TABLE = [
    ("1/2", r"\boxed{0.5}", 1),
    ("1/3", "$0.333333$", 1),
    ("1/3", "$0.3333$", 0),
    ("1000", "1,000.", 1),
    ("x=5", "5", 1),
    ("5", "x=5", 1),
    ("101", "$a+2z=2z+a=101$", 1),
    ("a+2z=2z+a=101", "$101$", 0),
    ("2x+z=1", "1", 0),
    (r"\{1,3\}\cup\{2,4\}", r"$\{1,2,3,4\}$", 1),
    ("1,2", "$2,1$", 1),
    ("(1,2)", "$1<x<2$", 0),
    ("1<x<2", "$(1,2)$", 1),
    ("[1,2]", "$(1,2)$", 0),
    (r"10\%", "$0.1$", 1),
    (r"\sqrt{8}", r"$2\sqrt{2}$", 1),
    ("(x+1)^2", "$x^2+2x+1$", 1),
    ("a<b", "$b>a$", 1),
    (r"10 \text{ cm}", "$10$", 1),
    (r"\text{east}", r"$\text{East}$", 1),
    ("3", r"\boxed{3} wait no, \boxed{4}", 0),
    ("4", r"\boxed{3} wait no, \boxed{4}", 0),
    ("50", r"$50\%$", 1),
    ("4", "I do not know", 0),
    ("4", "", 0),
]


@pytest.mark.parametrize(("gold", "completion", "score"), TABLE)
def test_truth_table(gold, completion, score):
    assert math_answer.MathAnswer()(making.make(completion, answer=gold)) == score


LETTERS = [
    ("Answer: B", "B", 1),
    ("answer is B", "B", 1),
    ("answer is b", "B", 0),  # a small letter is not found
    ("Answer: B", "C", 0),
    ("A good reason for C", "A", 1),  # a false hit: the article is read as the letter
    ("A good reason for C", "C", 0),
    ("(B)", "B", 0),
    ("", "B", 0),
]


@pytest.mark.parametrize(("completion", "gold", "score"), LETTERS)
def test_truth_table_of_letters(completion, gold, score):
    targets = (math_verify.StringExtractionConfig(),)
    answer = math_verify.parse(completion, targets, parsing_timeout=0)
    assert float(math_verify.verify([gold.lower()], answer, timeout_seconds=0)) == score


def test_same():
    assert math_answer.same("0.5", r"\frac{1}{2}")
    assert math_answer.same("1,000", "1000")
    assert not math_answer.same("0.5", "0.6")
    assert not math_answer.same("", "")


def test_votes_for_equal_numbers_are_counted_together():
    group = [making.make(rf"\boxed{{{answer}}}") for answer in (r"\frac{1}{2}", "3", "0.5", "3.1")]
    reward = vote.Majority(extract.last_boxed, same=math_answer.same)
    assert reward.score_group(group) == [1, 0, 1, 0]


@pytest.mark.parametrize("gold", ["", "   "])
def test_gold_that_cannot_be_parsed_is_nan(gold):
    assert math.isnan(math_answer.MathAnswer()(making.make("4", answer=gold)))


def test_gsm8k_gold():
    reward = math_answer.MathAnswer(gold=extract.after_hashes, extract=extract.after_hashes)
    assert reward(making.make("so\n#### 1200", answer="600 * 2 = 1200\n#### 1,200")) == 1
    assert reward(making.make("so 1200", answer="#### 1,200")) == 0
    assert math.isnan(reward(making.make("#### 4", answer="no hashes")))


def test_boxed_targets_want_a_box():
    reward = math_answer.MathAnswer(targets=math_answer.BOXED)
    assert reward(making.make(r"3, no: $\boxed{4}$ and 5", answer="4")) == 1
    assert reward(making.make("3, no: 4", answer="4")) == 0


def test_only_what_follows_the_thought_is_graded():
    reward = math_answer.MathAnswer(extract=extract.AfterThink())
    assert reward(making.make("<think>5?</think>4", answer="4")) == 1
    assert reward(making.make("<think>4?</think>5", answer="4")) == 0
    assert reward(making.make("4", answer="4")) == 0


def test_numbers_may_be_given_as_numbers():
    assert math_answer.MathAnswer()(making.make("4", answer=4)) == 1


def test_every_gold_of_gsm8k_is_right_against_itself():
    if not GSM8K.exists():
        pytest.skip("shared/data/gsm8k is not beside the repository")
    reward = math_answer.MathAnswer(gold=extract.after_hashes)
    for line in GSM8K.read_text().splitlines()[:200]:
        answer = json.loads(line)["answer"]
        assert reward(making.make(answer.replace("<<", "").replace(">>", ""), answer=answer)) == 1, answer
