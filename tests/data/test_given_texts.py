"""Texts of the data that join the groups of the online loop."""

import fake_tokenizer as fake
import numpy as np
import pytest

from posttrain_jax.data import encode, fields, prompts

PAIRS = [
    {"prompt": "ab", "chosen": "cd", "rejected": "efghi"},
    {"prompt": "a", "chosen": "x", "rejected": "  "},
]


def rows_of(read):
    told = prompts.telling(read)
    return prompts.encode(PAIRS, lambda row: told(row)[0], fake.Characters(), encode.Limits(8, 1))[0]


def test_answers_of_pairs_stand_in_a_column_cut_and_filled_up():
    read = fields.PreferenceFields()
    told = prompts.telling(read, ("chosen", "rejected"))
    given = prompts.give_texts(rows_of(read), told, fake.Characters(), width=4)
    ids = [[[ord("c"), ord("d"), 2, -1], [*map(ord, "efgh")]], [[ord("x"), 2, -1, -1], [-1] * 4]]
    for row, expected in zip(given, ids, strict=True):
        np.testing.assert_array_equal(row.tokens.columns[prompts.GIVEN], expected)


def test_with_nothing_to_give_rows_stay_as_they_are():
    rows = rows_of(fields.PromptFields())
    assert prompts.give_texts(rows, prompts.telling(fields.PromptFields()), fake.Characters(), width=4) == rows


def test_prompts_alone_have_no_answers():
    with pytest.raises(ValueError, match="chosen, rejected: the rows are read as prompts alone"):
        prompts.telling(fields.PromptFields(), ("chosen", "rejected"))(PAIRS[0])
