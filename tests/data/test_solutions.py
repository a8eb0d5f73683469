import numpy as np
import pytest

from posttrain_jax.data import encode, solutions
from posttrain_jax.models import vocabulary

WORDS = vocabulary.characters("abcd;=")
LIMITS = encode.Limits(prompt=4, completion=8)


def encoded(labels, steps=("ab", "c", "dd"), limits=LIMITS, **changes):
    row = {"prompt": "a=", "completions": list(steps), "labels": labels}
    return solutions.encode([row], solutions.SolutionFields(), WORDS, limits, separator=";", **changes)[0][0]


def test_labels_stand_at_the_last_token_of_each_step():
    """a b ; c ; d d <eos>"""
    row = encoded([True, None, 0.25])
    assert WORDS.decode(row.completions[0].tolist()) == "ab;c;dd"
    expected = [[np.nan, np.nan, 1, np.nan, np.nan, np.nan, np.nan, 0.25]]
    np.testing.assert_array_equal(row.columns["step_labels"], np.float32(expected))
    one = encoded([False], ["a"])
    np.testing.assert_array_equal(one.columns["step_labels"][0, :2], [np.nan, 0])


def test_a_step_that_is_cut_has_no_label():
    row = encoded([True, False, True], limits=encode.Limits(prompt=4, completion=4))
    np.testing.assert_array_equal(row.columns["step_labels"], [[np.nan, np.nan, 1, np.nan]])
    with pytest.raises(
        ValueError, match="none of the 1 rows is fit and within the limits of 4 prompt and 2 completion"
    ):
        encoded([True, False, True], limits=encode.Limits(prompt=4, completion=2))
    with pytest.raises(ValueError, match="cut completions behind"):
        encoded([1, 0, 1], limits=encode.Limits(prompt=4, completion=4, long_completion=encode.keep_end))


@pytest.mark.parametrize(
    ("labels", "steps", "told"),
    [
        ([1, 0], ["a"], "a label for each step"),
        ([], [], "a label for each step"),
        (None, ["a"], "must be lists, a label for each step"),
        ("+", ["a"], "must be lists"),
        ([None, None], ["a", "b"], "none of the 1 rows is fit"),
        ([2], ["a"], "from 0 to 1"),
        (["+"], ["a"], "not a finite number"),
        ([1, 0], ["a;b", "c"], "2 steps are cut into 3"),
        ([1, 0, 1], ["a", "", "b"], None),
    ],
)
def test_what_does_not_fit_is_refused(labels, steps, told):
    if told is None:  # a step without a word ends where its separator is
        np.testing.assert_array_equal(encoded(labels, steps).columns["step_labels"][0, :5], [np.nan, 1, 0, np.nan, 1])
    else:
        with pytest.raises(ValueError, match=told):
            encoded(labels, steps)
