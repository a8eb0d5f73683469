"""What the data say of a row beside its tokens, taken out by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types


def take(recipe: Any, columns: Mapping[str, Array], name: str) -> Array:
    """The column, or ValueError that names what the data lack."""
    if name not in columns:
        there = ", ".join(columns) or "none"
        raise ValueError(f"{type(recipe).__name__} reads the column {name!r} of the data, which have {there}: add it.")
    return columns[name]


def per_completion(recipe: Any, columns: Mapping[str, Array], name: str, groups: types.Groups) -> Float[Array, "P K"]:
    """A number for every completion."""
    values, shape = take(recipe, columns, name), groups.completion_lengths.shape
    if values.shape != shape:
        raise ValueError(
            f"{type(recipe).__name__} wants a number for every completion in {name!r}: shape {shape}, not"
            f" {values.shape}."
        )
    return values


def per_token(recipe: Any, columns: Mapping[str, Array], name: str, groups: types.Groups) -> Float[Array, "P K T"]:
    """A number for every token; the column may be wider than the batch."""
    values, shape = take(recipe, columns, name), groups.completion_mask.shape
    if values.shape[:-1] != shape[:-1] or values.shape[-1] < shape[-1]:
        raise ValueError(
            f"{type(recipe).__name__} wants a number for every token in {name!r}: shape {shape}, not {values.shape}."
        )
    return values[:, :, : shape[-1]]


def with_prompts(recipe: Any, columns: Mapping[str, Array], name: str, groups: types.Groups) -> types.Groups:
    """The same completions after the prompts of the column: token ids [P, S], filled up with -1."""
    ids = take(recipe, columns, name)
    given = ids >= 0
    return dataclasses.replace(
        groups,
        prompts=jnp.where(given, ids, 0).astype(groups.prompts.dtype),
        prompt_lengths=jnp.maximum(jnp.sum(given, axis=1), 1).astype(groups.prompt_lengths.dtype),
    )
