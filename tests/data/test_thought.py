import pytest

from posttrain_jax.data import thought
from posttrain_jax.rewards import format, sample

TEXT = "<think>hm\nso</think><answer>4</answer>"


def test_all_or_none():
    assert thought.drop(TEXT, 0, share=0.0, seed=0) == TEXT
    got = thought.drop(TEXT, 0, share=1.0, seed=0)
    assert got == "<think>\n\n</think><answer>4</answer>"
    one = sample.Sample(prompt="", completion=got, example={}, completion_tokens=1, truncated=False)
    assert format.ThinkAnswer()(one) == format.Skipped()(one) == 1


def test_half_of_the_rows_by_row_and_seed():
    first = [thought.drop(TEXT, row, share=0.5, seed=0) == TEXT for row in range(400)]
    assert first == [thought.drop(TEXT, row, share=0.5, seed=0) == TEXT for row in range(400)]
    assert 160 < sum(first) < 240
    assert first != [thought.drop(TEXT, row, share=0.5, seed=1) == TEXT for row in range(400)]


def test_a_row_without_a_thought_is_refused():
    with pytest.raises(ValueError, match="row 3 has no <think>"):
        thought.drop("4", 3, share=0.5, seed=0)
