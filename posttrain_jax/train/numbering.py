"""Recipes that remember prompts by the numbers of their rows, and whether they have room for the data's."""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from posttrain_jax.train import process


@runtime_checkable
class Numbering(Protocol):
    """A recipe that remembers every prompt of the data by the number of its row."""

    @property
    def prompts(self) -> int:
        """How many it can remember."""
        ...


def check(recipes: Iterable[Any], group_ids: Int[np.ndarray, "P"]) -> None:
    """Recipes that remember prompts by their number have room for these."""
    for recipe in [one for one in recipes if isinstance(one, Numbering)]:
        with process.as_one():
            if int(group_ids.max(initial=-1)) >= recipe.prompts:
                raise ValueError(
                    f"{type(recipe).__name__} remembers {recipe.prompts} prompts and the data hold row"
                    f" {group_ids.max()}: set its `prompts` to the number of rows of the data (of the file, rows that"
                    " were left out included)."
                )
