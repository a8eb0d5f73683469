"""Which tokens of a pair differ: what RRPO compares."""

import dataclasses
import difflib
from collections.abc import Sequence

import numpy as np

from posttrain_jax.data import encode


def mark(rows: Sequence[encode.TokenRow], limits: encode.Limits) -> list[encode.TokenRow]:
    """The rows with a column `differing` [2, limits.completion]: 1 on tokens outside the longest matching blocks.

    Blocks are those of `difflib.SequenceMatcher` over the token ids of both completions.
    """
    return [_marked(row, limits.completion) for row in rows]


def _marked(row: encode.TokenRow, length: int) -> encode.TokenRow:
    if len(row.completions) != 2:
        raise ValueError(f"row {row.index} has {len(row.completions)} completions: phrases differ between two.")
    differing = np.zeros((2, length), np.float32)
    for side, ids in enumerate(row.completions):
        differing[side, : len(ids)] = 1
    chosen, rejected = (ids.tolist() for ids in row.completions)
    for block in difflib.SequenceMatcher(None, chosen, rejected, autojunk=False).get_matching_blocks():
        differing[0, block.a : block.a + block.size] = 0
        differing[1, block.b : block.b + block.size] = 0
    return dataclasses.replace(row, columns={**row.columns, "differing": differing})
