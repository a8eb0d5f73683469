import pytest
from making import make

from posttrain_jax.rewards import box

HERE = (0, 0, 10, 10)


@pytest.mark.parametrize(
    ("other", "expected"),
    [((0, 0, 10, 5), 0.5), ((5, 5, 15, 15), 25 / 175), (HERE, 1.0), ((10, 0, 20, 10), 0.0), ((20, 20, 30, 30), 0.0)],
)
def test_worked_overlaps(other, expected):
    assert box.overlap(HERE, other) == pytest.approx(expected)
    assert box.overlap(other, HERE) == pytest.approx(expected)


def test_empty_boxes_overlap_nothing():
    assert box.overlap((1, 1, 1, 1), (1, 1, 1, 1)) == 0
    assert box.overlap((9, 9, 0, 0), HERE) == 0


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ('<answer>{"bbox_2d": [0, 0, 10, 5]}</answer>', 1),
        ('{"bbox_2d": [5,5,15,15]}', 0),
        ('{"bbox_2d": [5,5,15,15]} no, {"bbox_2d" : [0.0, 0, 10, 9.5]}', 1),
        ('{"bbox_2d": [0, 0, 10]}', 0),
        ('{"box": [0, 0, 10, 10]}', 0),
        ("", 0),
    ],
)
def test_the_last_box_is_judged(completion, expected):
    assert box.BoxOverlap()(make(completion, box=HERE)) == expected


def test_a_missing_gold_box_and_a_meaningless_overlap_are_refused():
    with pytest.raises(ValueError, match="no field 'box'"):
        box.BoxOverlap()(make(""))
    with pytest.raises(ValueError, match="at_least="):
        box.BoxOverlap(at_least=0.0)
