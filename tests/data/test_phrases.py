import numpy as np
import pytest

from posttrain_jax.data import encode, phrases


def row(*completions):
    arrays = tuple(np.asarray(ids, np.int32) for ids in completions)
    return encode.TokenRow(np.ones(1, np.int32), arrays, 4, {"scores": np.zeros(2, np.float32)})


def test_tokens_outside_common_phrases_differ():
    (marked,) = phrases.mark([row([1, 2, 3, 4, 9], [1, 7, 8, 4, 9, 9])], encode.Limits(4, 7))
    np.testing.assert_array_equal(marked.columns["differing"], [[0, 1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 1, 0]])
    np.testing.assert_array_equal(marked.columns["scores"], [0, 0])


def test_equal_and_foreign_completions():
    same, other = phrases.mark([row([1, 2], [1, 2]), row([1, 2], [3])], encode.Limits(4, 2))
    assert not same.columns["differing"].any()
    np.testing.assert_array_equal(other.columns["differing"], [[1, 1], [1, 0]])


def test_single_completions_are_refused():
    with pytest.raises(ValueError, match="row 4 has 1 completions"):
        phrases.mark([row([1])], encode.Limits(4, 2))
