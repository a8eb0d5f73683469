import misbehaving
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from posttrain_jax.rewards import combine, exact_match, format


def pair():
    return combine.WeightedRewards({"correct": (1.0, exact_match.ExactMatch()), "form": (0.5, format.Think())})


def test_total_by_hand():
    columns = np.asarray([[1, 1], [1, np.nan], [np.nan, 1], [np.nan, np.nan], [0, 0]], np.float32)
    np.testing.assert_array_equal(pair().total(columns), np.asarray([1.5, 1, 0.5, np.nan, 0], np.float32))


@given(arrays.arrays(np.float32, (3, 4, 2), elements=st.floats(-10, 10, width=32)))
def test_a_nan_column_equals_an_absent_one(columns):
    columns[..., 1] = np.nan
    alone = combine.WeightedRewards({"correct": (1.0, exact_match.ExactMatch())})
    np.testing.assert_array_equal(pair().total(columns), alone.total(columns[..., :1]))


def test_names_follow_the_order_given():
    assert pair().names == ("correct", "form")
    assert pair().rewards == (exact_match.ExactMatch(), format.Think())


def test_refusals():
    with pytest.raises(ValueError, match="at least one"):
        combine.WeightedRewards({})
    with pytest.raises(ValueError, match="'form' is nan"):
        combine.WeightedRewards({"form": (float("nan"), format.Think())})
    with pytest.raises(ValueError, match="reward 'form' must be a callable of one sample or have `score_group`"):
        combine.WeightedRewards({"form": (1.0, misbehaving.Both())})
