"""Credit as the loops call it: the passes under fixed parameters that a recipe needs, then the recipe's own credit."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float, PyTree

from posttrain_jax import comparison, types
from posttrain_jax.train import update

Credited = tuple[Any, PyTree]
"""The batch, and the memory to keep once the update is done."""
Score = Callable[..., types.TokenStats]
"""`reference.make_score`."""


def init_memory(recipe: types.Loss) -> PyTree:
    """What the recipe remembers before the first step."""
    return recipe.init_memory() if isinstance(recipe, types.InformedOnline | types.InformedOffline) else ()


def make_online(
    model: update.Model,
    recipe: types.OnlineRecipe | types.InformedOnline,
    score: Score,
    *,
    temperature: float,
) -> Callable[[types.TrainState, PyTree, types.Rollout, Float[Array, "P G"], Mapping[str, Array]], Credited]:
    """`credit(state, ref_params, rollout, rewards, columns) -> (batch, memory)`, compiled.

    Args:
        score: the loop's, which is then compiled once for all its uses.
        temperature: what sampling divided the logits by.
    """
    if isinstance(recipe, types.InformedOnline):

        def informed(state, ref_params, rollout, rewards, columns):
            lookup = _lookup(model, state, ref_params, temperature)
            return recipe.credit(rollout, rewards, columns, lookup, state.memory)

        return jax.jit(informed, out_shardings=_shardings(model))
    compiled = jax.jit(recipe.credit, out_shardings=model.row_sharding)

    def plain(state, ref_params, rollout, rewards, columns):
        ref_logps = score(ref_params, rollout.groups, rollout.kept_ids).logps if recipe.needs_ref else None
        return compiled(rollout, rewards, ref_logps), state.memory

    return plain


def make_offline(
    model: update.Model, recipe: types.OfflineRecipe | types.InformedOffline, score: Score
) -> Callable[[types.TrainState, PyTree, types.Groups, Mapping[str, Array]], Credited]:
    """`credit(state, ref_params, groups, columns) -> (batch, memory)`, compiled.

    Args:
        score: the loop's, which is then compiled once for all its uses.
    """
    if isinstance(recipe, types.InformedOffline):

        def informed(state, ref_params, groups, columns):
            return recipe.credit(groups, columns, _lookup(model, state, ref_params, 1.0), state.memory)

        return jax.jit(informed, out_shardings=_shardings(model))
    compiled = jax.jit(recipe.credit, out_shardings=model.row_sharding)

    def plain(state, ref_params, groups, columns):
        if columns:
            raise ValueError(
                f"{type(recipe).__name__} reads no columns, and the data have {', '.join(columns)}: leave them out"
                " of the fields, or take a recipe that reads them."
            )
        ref_logps = score(ref_params, groups).logps if recipe.needs_ref else None
        return compiled(groups, ref_logps), state.memory

    return plain


def _lookup(model: update.Model, state: types.TrainState, ref_params: PyTree, temperature: float) -> types.Lookup:
    models = {"policy": state.params, "ref": ref_params}

    def stats(
        params: PyTree,
        groups: types.Groups,
        kept_ids: Array | None = None,
        comparisons: Mapping[str, comparison.Comparison] | None = None,
    ) -> types.TokenStats:
        wanted = comparisons or {}
        fixed = {role: model.logits(models[role], groups) for one in wanted.values() for role in one.logits}
        found = model.token_stats(
            params, groups, temperature=temperature, kept_ids=kept_ids, comparisons=wanted, fixed=fixed
        )
        return jax.tree.map(jax.lax.stop_gradient, found)

    # another branch than the sampler's, which folds steps into the run's key itself
    key = jax.random.fold_in(jax.random.split(state.key)[1], state.step)
    return types.Lookup(
        policy=functools.partial(stats, state.params), ref=functools.partial(stats, ref_params), key=key
    )


def _shardings(model: update.Model) -> tuple[NamedSharding, NamedSharding]:
    return model.row_sharding, NamedSharding(model.mesh, Spec())
