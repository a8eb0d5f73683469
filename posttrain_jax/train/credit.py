"""Credit as the loops call it: the passes under fixed parameters that a recipe needs, then the recipe's own credit."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float, PyTree

from posttrain_jax import comparison, scoring, types
from posttrain_jax.models import group_spread, layer, likeliest, platform, scalar_model, token_influence, transport
from posttrain_jax.train import held, update


class Credited(NamedTuple):
    """What a step learns from."""

    batch: Any
    memory: PyTree
    """What the recipe remembers once the update is done."""
    ref_logps: Float[Array, "P G T"] | None
    """The reference's, where the loop computed them; None where the recipe looked for itself, or asked for none."""


Score = Callable[..., types.TokenStats]
"""`reference.make_score`."""
AnyRecipe = types.OnlineRecipe | types.OfflineRecipe | types.InformedOnline | types.InformedOffline
"""Of either loop."""


@runtime_checkable
class Layered(Protocol):
    """A model that one can look inside."""

    def states(self, params: PyTree, groups: types.Groups, take: layer.Emit) -> tuple[Array, PyTree]:
        """Hidden states that predict tokens, and what `take` keeps of every layer there."""
        ...


def init_memory(recipe: types.Loss) -> PyTree:
    """What the recipe remembers before the first step."""
    return recipe.init_memory() if isinstance(recipe, types.InformedOnline | types.InformedOffline) else ()


def make_online(
    model: update.Model,
    recipe: types.OnlineRecipe | types.InformedOnline,
    score: Score,
    fixed: Mapping[str, comparison.Asked],
    *,
    temperature: float,
    unplayed: Collection[str] = (),
) -> Callable[..., Credited]:
    """`credit(state, ref_params, rollout, rewards, columns, fixed_params)`, compiled.

    Args:
        score: the loop's, which is then compiled once for all its uses.
        fixed: the models that the recipe may ask beside the reference, by role; `fixed_params` are their parameters.
        temperature: what sampling divided the logits by.
        unplayed: versions of the policy that no player is.

    Raises:
        ValueError: nothing looks at one of these, which is then kept in vain (when called).
    """
    _check_kind(recipe, model, {"groups": "given completions: train it with run_offline"})
    if isinstance(recipe, types.InformedOnline):

        def informed(state, ref_params, rollout, rewards, columns, fixed_params):
            asked: set[str] = set()
            lookup = _lookup(model, state, ref_params, temperature, _others(fixed, fixed_params), asked)
            batch, memory = recipe.credit(rollout, rewards, columns, lookup, state.memory)
            _check_used(recipe, set(unplayed) - asked, batch)
            return Credited(batch, memory, None)

        return platform.jit(model.mesh, out_shardings=_shardings(model))(informed)
    compiled = platform.jit(model.mesh, out_shardings=model.row_sharding, level=0)(recipe.credit)

    def plain(state, ref_params, rollout, rewards, columns, fixed_params):
        ref_logps = score(ref_params, rollout.groups, rollout.kept_ids).logps if recipe.needs_ref else None
        batch = compiled(rollout, rewards, ref_logps)
        _check_used(recipe, set(unplayed), batch)
        return Credited(batch, state.memory, ref_logps)

    return plain


def make_offline(
    model: update.Model,
    recipe: types.OfflineRecipe | types.InformedOffline,
    score: Score,
    fixed: Mapping[str, comparison.Asked],
) -> Callable[..., Credited]:
    """`credit(state, ref_params, groups, columns, fixed_params)`, compiled.

    Args:
        score: the loop's, which is then compiled once for all its uses.
        fixed: the models that the recipe may ask beside the reference, by role; `fixed_params` are their parameters.
    """
    _check_kind(recipe, model, {"rollout": "rollouts and their rewards: train it with run_online"})
    if isinstance(recipe, types.InformedOffline):

        def informed(state, ref_params, groups, columns, fixed_params):
            lookup = _lookup(model, state, ref_params, 1.0, _others(fixed, fixed_params), set())
            return Credited(*recipe.credit(groups, columns, lookup, state.memory), None)

        return platform.jit(model.mesh, out_shardings=_shardings(model))(informed)
    compiled = platform.jit(model.mesh, out_shardings=model.row_sharding, level=0)(recipe.credit)

    def plain(state, ref_params, groups, columns, fixed_params):
        if columns:
            raise ValueError(
                f"{type(recipe).__name__} reads no columns, and the data have {', '.join(columns)}: leave them out"
                " of the fields, or take a recipe that reads them."
            )
        ref_logps = score(ref_params, groups).logps if recipe.needs_ref else None
        return Credited(compiled(groups, ref_logps), state.memory, ref_logps)

    return plain


def _check_kind(recipe: AnyRecipe, model: update.Model, others: Mapping[str, str]) -> None:
    """Refuse a recipe of the other loop or of another kind of model, which would fail in the middle of a program.

    Args:
        others: what recipes of the other loop learn from, by the name of what their credit is given first.
    """
    if isinstance(recipe, type):
        raise ValueError(f"{recipe.__name__} is the class of a recipe: give one, {recipe.__name__}(...).")
    first = next(iter(inspect.signature(recipe.credit).parameters))
    if first in others:
        raise ValueError(f"{type(recipe).__name__} learns from {others[first]}.")
    held.check(recipe)
    read = next(iter(inspect.signature(recipe.loss).parameters.values())).annotation
    if (read is scoring.Scores) != isinstance(model, scalar_model.ScalarModel):
        wanted = "a reward model (`ScalarModel`)" if read is scoring.Scores else "a model of words"
        raise ValueError(f"{type(recipe).__name__} trains {wanted}, and this one is a {type(model).__name__}.")


def _lookup(
    model: update.Model,
    state: types.TrainState,
    ref_params: PyTree,
    temperature: float,
    others: Mapping[str, tuple[comparison.Asked, PyTree]],
    asked: set[str],
) -> types.Lookup:
    """What the recipe may ask; the roles that it does ask are put into `asked`."""
    models = dict(others) | {"policy": (model, state.params), "ref": (model, ref_params)}

    def stats(
        role: str,
        groups: types.Groups,
        kept_ids: Array | None = None,
        comparisons: Mapping[str, comparison.Request] | None = None,
    ) -> types.TokenStats:
        wanted = comparisons or {}
        roles = comparison.roles(wanted)
        asked.update({*roles, role})
        fixed = {other: models[other][0].logits(models[other][1], groups) for other in roles}
        found = models[role][0].token_stats(
            models[role][1], groups, temperature=temperature, kept_ids=kept_ids, comparisons=wanted, fixed=fixed
        )
        return jax.tree.map(jax.lax.stop_gradient, found)

    def influences(groups: types.Groups, sources: Array) -> Array:
        logits = model.logits(state.params, groups)
        given = logits, groups.completions, sources, groups.group_ids, model.layout
        return jnp.where(groups.completion_mask, token_influence.of_tokens(*given, temperature=temperature), 0)

    def spreads(groups: types.Groups, spread: comparison.Spread) -> Array:
        given = model.logits(state.params, groups), groups.completion_mask, model.layout
        return group_spread.of_positions(*given, spread, temperature=temperature)

    def costs(groups: types.Groups, picked: comparison.Picked) -> tuple[Array, Array]:
        asked.add(picked.role)
        other, params = models[picked.role]
        given = model.logits(state.params, groups), other.logits(params, groups), picked, model.layout
        return jax.tree.map(jax.lax.stop_gradient, transport.costs(*given))

    def entries(groups: types.Groups, wanted: comparison.Likeliest) -> tuple[Array, Array]:
        roles = {wanted.by, wanted.of}
        asked.update(roles)
        size = jax.eval_shape(model.logits, state.params, groups).weight.shape[1]
        logits = {role: models[role][0].logits(models[role][1], groups) for role in roles}
        return likeliest.looked_up(logits, wanted, size, model.layout)

    ask = {role: functools.partial(stats, role) for role in models}
    # another branch than the sampler's, which folds steps into the run's key itself
    key = jax.random.fold_in(jax.random.split(state.key)[1], state.step)
    told: dict[str, Any] = {"influences": influences, "spreads": spreads, "costs": costs, "likeliest": entries}
    if isinstance(model, Layered):
        told["activations"] = functools.partial(_activations, model, ref_params, asked)
    return types.Lookup(policy=ask["policy"], ref=ask["ref"], key=key, fixed=ask, **told)


def _activations(model: Layered, ref_params: PyTree, asked: set[str], groups: types.Groups) -> dict[str, Any]:
    asked.add("ref")
    return jax.lax.stop_gradient(model.states(ref_params, groups, layer.means)[1])


def _check_used(recipe: types.Loss, unused: set[str], batch: Any) -> None:
    if isinstance(recipe, comparison.Comparing) and unused:
        unused -= set(comparison.roles(recipe.comparisons(batch)))
    if unused:
        raise ValueError(
            f"versions {sorted(unused)} would be kept for nothing: no player is one and {type(recipe).__name__} asks"
            " none; name them in players, or leave them out."
        )


def _others(
    fixed: Mapping[str, comparison.Asked], params: Mapping[str, PyTree]
) -> dict[str, tuple[comparison.Asked, PyTree]]:
    return {role: (model, params[role]) for role, model in fixed.items()}


def _shardings(model: update.Model) -> Credited:
    return Credited(model.row_sharding, NamedSharding(model.mesh, Spec()), None)
