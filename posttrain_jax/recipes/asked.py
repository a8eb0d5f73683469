"""Models beside the policy and its reference, which a recipe asks by their role."""

from collections.abc import Callable
from typing import Any

from posttrain_jax import types


def model(recipe: Any, lookup: types.Lookup, role: str) -> Callable[..., types.TokenStats]:
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
