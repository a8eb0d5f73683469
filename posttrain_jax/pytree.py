"""Structs: frozen dataclasses that JAX treats as trees of their fields."""

import dataclasses
from typing import TypeVar, dataclass_transform

import jax

Cls = TypeVar("Cls", bound=type)


@dataclass_transform(frozen_default=True)
def struct(cls: Cls) -> Cls:
    """Make `cls` a frozen dataclass that JAX treats as a tree of its fields.

    Trees are rebuilt without calling `__init__`, so that `tree.map` may put specs, shapes or stacked arrays in the
    place of arrays although the annotations (checked when a person builds the struct under the tests) say otherwise.
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
    names = [field.name for field in dataclasses.fields(cls)]

    def flatten_with_keys(node):
        return [(jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in names], None

    def unflatten(_, children):
        node = object.__new__(cls)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(node, name, child)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten)
    return cls
