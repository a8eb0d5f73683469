"""What the data say of a row beside its tokens, taken out by name."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array


def take(recipe: Any, columns: Mapping[str, Array], name: str) -> Array:
    """The column, or ValueError that names what the data lack."""
    if name not in columns:
        there = ", ".join(columns) or "none"
        raise ValueError(f"{type(recipe).__name__} reads the column {name!r} of the data, which have {there}: add it.")
    return columns[name]
