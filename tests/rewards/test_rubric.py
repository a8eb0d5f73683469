import json

import making
import pytest

from posttrain_jax.rewards import extract, rubric

NAMES = [one.name for one in rubric.REASONING]


def judging(*points, **others):
    said = json.dumps({**dict(zip(NAMES, points, strict=False)), **others})
    return rubric.Rubric(lambda text: f"well, <points>{said}</points>")


def test_points_are_added_here():
    assert judging(4, 3, 5, 4, 4, total=25)(making.make("x")) == pytest.approx(0.8)


def test_the_judge_is_told_what_to_judge():
    def judge(text):
        assert "grounding (0 to 5)" in text
        assert '"x"' in text
        return '<points>{"short": 2}</points>'

    reward = rubric.Rubric(judge, (rubric.Criterion("short", "it is short", 2.0),))
    with pytest.raises(AssertionError):
        reward(making.make("x"))
    assert judging(5, 5, 5, 5, 5)(making.make("x")) == 1


@pytest.mark.parametrize(
    "points", [(4, 3, 5, 4), (4, 3, 5, 4, 6), (4, 3, 5, 4, "4"), (4, 3, 5, 4, True), (-1, 0, 0, 0, 0)]
)
def test_replies_that_cannot_be_read_raise(points):
    with pytest.raises(ValueError, match="points, which is not from 0 to 5"):
        judging(*points)(making.make("x"))


def test_an_answer_that_is_not_found_is_not_judged():
    assert rubric.Rubric(lambda text: "", extract=extract.LastTag())(making.make("x")) == 0
