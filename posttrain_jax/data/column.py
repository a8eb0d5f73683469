"""Columns: what the data say of a row beside its tokens, put beside token rows by name.

Recipes that read columns name them: scores, labels, other prompts, numbers of single tokens.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from posttrain_jax.data import encode

FILL = -1.0
"""What stands behind the end of a prompt in a column."""


def attach(
    rows: Sequence[encode.TokenRow], name: str, values: Sequence[Float[np.ndarray, "*_"]]
) -> list[encode.TokenRow]:
    """The rows with one more column.

    Args:
        rows: encoded.
        name: of the column.
        values: one for each row, all of one shape: a number, one for each completion, `prompt` (or one for each
            completion, stacked) or `of_tokens`.

    Raises:
        ValueError: there are not as many values as rows, or their shapes differ.
    """
    shapes = {value.shape for value in values}
    if len(values) != len(rows) or len(shapes) > 1:
        raise ValueError(
            f"column {name!r} has {len(values)} values of shapes {sorted(shapes)} for {len(rows)} rows: give every row"
            " one, all of one shape."
        )
    pairs = zip(rows, values, strict=True)
    return [dataclasses.replace(row, columns={**row.columns, name: value}) for row, value in pairs]


def prompt(ids: Sequence[int], width: int) -> Float[np.ndarray, "S"]:
    """Token ids of another prompt, filled up to `width`.

    Raises:
        ValueError: the prompt is empty or longer.
    """
    if not 0 < len(ids) <= width:
        raise ValueError(f"a prompt of {len(ids)} tokens does not go into a column of {width}: make the column wider.")
    return np.asarray([*ids, *[FILL] * (width - len(ids))], np.float32)


def of_tokens(values: Sequence[Float[np.ndarray, "_"]], width: int) -> Float[np.ndarray, "K T"]:
    """A number for every token of each completion, filled up with 0 to `width`, at least the longest bucket.

    Raises:
        ValueError: a completion is longer.
    """
    longest = max(len(own) for own in values)
    if longest > width:
        raise ValueError(f"a completion of {longest} tokens does not go into a column of {width}: make it wider.")
    return np.stack([np.pad(np.asarray(own, np.float32), (0, width - len(own))) for own in values])


def ids(value: Float[np.ndarray, "S"]) -> Int[np.ndarray, "_"]:
    """The token ids that `prompt` was given."""
    return value[value >= 0].astype(np.int32)
