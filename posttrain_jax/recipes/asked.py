"""What a recipe asks of models: of those beside the policy and its reference by their role, of all under a support."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Int

from posttrain_jax import types

Model = Callable[..., types.TokenStats]
"""One of a `types.Lookup`."""


def model(recipe: Any, lookup: types.Lookup, role: str) -> Model:
    """What the model of this role says of completions, or ValueError where the loop was given none."""
    if role not in lookup.fixed:
        name = type(recipe).__name__
        raise ValueError(f"{name} asks the model {role!r}: give the loop fixed={{{role!r}: reference.Fixed(...)}}.")
    return lookup.fixed[role]


def costs(recipe: Any, lookup: types.Lookup, role: str) -> Callable[..., Any]:
    """Distances between picked tokens of the policy and of the model of this role."""
    model(recipe, lookup, role)
    if lookup.costs is None:
        raise ValueError(f"{type(recipe).__name__} compares tokens with one another: give the lookup `costs`.")
    return lookup.costs


def likeliest(recipe: Any, lookup: types.Lookup, role: str) -> Callable[..., Any]:
    """The likeliest entries of tokens, of the model of this role among others."""
    model(recipe, lookup, role)
    if lookup.likeliest is None:
        raise ValueError(f"{type(recipe).__name__} looks for the likeliest entries: give the lookup `likeliest`.")
    return lookup.likeliest


def under(lookup: types.Lookup, groups: types.Groups, kept_ids: Int[Array, "P G T k"] | None) -> types.Lookup:
    """For a recipe of given completions that is shown sampled ones: models score these as they were sampled.

    Args:
        lookup: of the recipe that holds it.
        groups: the very object that it is shown. Other rows are scored over the whole vocabulary.
        kept_ids: what truncated sampling could choose from; None where it could choose any.
    """
    if kept_ids is None:
        return lookup

    def cut(model: Model) -> Model:
        def asked(rows: types.Groups, kept: Array | None = None, comparisons: Any = None) -> types.TokenStats:
            return model(rows, kept_ids if rows is groups else kept, comparisons)

        return asked

    fixed = {role: cut(model) for role, model in lookup.fixed.items()}
    return dataclasses.replace(lookup, policy=cut(lookup.policy), ref=cut(lookup.ref), fixed=fixed)
