"""Credit of the online recipe that another one holds, of whichever kind it is."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Array, Float, PyTree

from posttrain_jax import types


def init_memory(recipe: types.OnlineRecipe | types.InformedOnline) -> PyTree:
    """What it remembers before the first step; () of one that remembers nothing."""
    return recipe.init_memory() if isinstance(recipe, types.InformedOnline) else ()


def credit(
    recipe: types.OnlineRecipe | types.InformedOnline,
    rollout: types.Rollout,
    rewards: Float[Array, "P G"],
    columns: Mapping[str, Array],
    lookup: types.Lookup,
    memory: PyTree,
) -> tuple[Any, PyTree]:
    """Its batch and memory; the reference is asked only where it needs one."""
    if isinstance(recipe, types.InformedOnline):
        return recipe.credit(rollout, rewards, columns, lookup, memory)
    ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if recipe.needs_ref else None
    return recipe.credit(rollout, rewards, ref_logps), memory
