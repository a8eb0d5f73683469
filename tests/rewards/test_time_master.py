import making
import pytest

from posttrain_jax.rewards import combine, time_master

TERMS = combine.WeightedRewards(time_master.rewards(("walk", "run"), lambda one: 0.8))


@pytest.mark.parametrize(
    ("text", "score"),
    [("<class> Walk </class>", 1.4), ("<class>run</class>", 0.1), ("<class>fly</class>", 0.0), ("walk", 0.0)],
)
def test_the_extension_counts_where_the_class_is_right(text, score):
    sample = making.make(text, answer="walk")
    scores = [reward(sample) for reward in TERMS.rewards if callable(reward)]
    assert sum(w * x for w, x in zip(TERMS.weights, scores, strict=True)) == pytest.approx(score)


def test_without_an_extension_a_right_class_has_one():
    terms = combine.WeightedRewards(time_master.rewards(("walk",), lambda one: 0.0))
    sample = making.make("<class>walk</class>", answer="walk")
    scores = [reward(sample) for reward in terms.rewards if callable(reward)]
    assert sum(w * x for w, x in zip(terms.weights, scores, strict=True)) == pytest.approx(1.0)


def test_a_judge_is_not_asked_where_the_gate_is_shut():
    def never(one):
        raise AssertionError

    reward = time_master.rewards(("walk",), never)["extension"][1]
    assert reward(making.make("<class>run</class>", answer="walk")) == 0
