"""Recipes in your own code: their credit from plain arrays, without a model, a mesh or a loop.

    batch, memory = plain.credit(recipe, mask, policy, ref)
    batch, memory = plain.credit_rewards(recipe, plain.rollout(mask, sampler), rewards, ref)
    loss, metrics = recipe.loss(policy, batch)

The first works for every recipe of `recipes/preference` and `recipes/likelihood` that learns from given completions,
the second for those of `recipes/policy`, which learn from own completions and their rewards.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from posttrain_jax import types

Said = types.TokenStats | Callable[..., types.TokenStats]
"""What a model says of the rows, or a function that says it of any rows."""


def credit(
    recipe: types.OfflineRecipe | types.InformedOffline,
    rows: Bool[Array, "P G T"] | types.Groups,
    policy: Said,
    ref: Said | None = None,
    *,
    columns: Mapping[str, Array] | None = None,
    memory: PyTree | None = None,
    key: Key[Array, ""] | None = None,
    fixed: Mapping[str, Said] | None = None,
) -> tuple[Any, PyTree]:
    """The batch that the recipe's loss reads, and what to give as `memory` with the next batch; both without gradient.

    Args:
        recipe: of given completions.
        rows: mask of the tokens that count, chosen before rejected or best first; or `groups`, for models that read.
        policy: as it is before the update.
        ref: the reference, where the recipe needs one.
        columns: what the data say of the rows, by name: the recipe says which it reads.
        memory: what the call before gave; None at the first.
        key: for recipes that draw; None takes one key for all batches.
        fixed: other models, by role.

    Raises:
        ValueError: a model that is given by its statistics is asked about other rows, as KTO asks about completions of
            other prompts (give functions), or for a divergence that they do not hold.
    """
    given = rows if isinstance(rows, types.Groups) else groups(rows)
    if not isinstance(recipe, types.InformedOffline):
        known = None if ref is None else _answering(ref, given, "ref")(given).logps
        return jax.lax.stop_gradient(recipe.credit(given, known)), ()
    told = {"policy": policy, **({} if ref is None else {"ref": ref}), **(fixed or {})}
    models = {role: _answering(said, given, role) for role, said in told.items()}
    drawn = jax.random.key(0) if key is None else key
    lookup = types.Lookup(models["policy"], models.get("ref", _unknown), drawn, models)
    before = recipe.init_memory() if memory is None else memory
    return jax.lax.stop_gradient(recipe.credit(given, columns or {}, lookup, before))


def rollout(rows: Bool[Array, "P G T"] | types.Groups, sampler: types.TokenStats) -> types.Rollout:
    """Own completions; what else is known of them (`truncated`, `segments`, `greedy`, ...) is put in their place.

    Args:
        rows: mask of the tokens that the policy chose; or `groups`, where tokens are read. A row is a group.
        sampler: what the policy said when it drew them, a critic's values included.
    """
    given = rows if isinstance(rows, types.Groups) else groups(rows)
    return types.Rollout(given, sampler, truncated=jnp.zeros(given.completion_lengths.shape, bool))


def credit_rewards(
    recipe: types.OnlineRecipe | types.InformedOnline,
    drawn: types.Rollout,
    rewards: Float[Array, "P G"],
    ref: Said | None = None,
    *,
    columns: Mapping[str, Array] | None = None,
    memory: PyTree | None = None,
    key: Key[Array, ""] | None = None,
    fixed: Mapping[str, Said] | None = None,
) -> tuple[Any, PyTree]:
    """The batch that the recipe's loss reads, and what to give as `memory` with the next rollout.

    For several updates on a rollout give the batch `old_logps`, those of the sampler: the loss has no ratio without.

    Args:
        recipe: of own completions.
        drawn: `rollout(mask, sampler)`.
        rewards: NaN where scoring failed.
        ref: the reference, where the recipe needs one.
        columns: each reward, count or column of the data by name: the recipe says which it reads.
        memory, key: as in `credit`.
        fixed: other models, by role; "policy" is the policy as it is before the update, unless told the sampler.

    Raises:
        ValueError: as in `credit`.
    """
    given = drawn.groups
    if not isinstance(recipe, types.InformedOnline):
        known = None if ref is None else _answering(ref, given, "ref")(given).logps
        return recipe.credit(drawn, rewards, known), ()
    told = {"policy": drawn.sampler, **({} if ref is None else {"ref": ref}), **(fixed or {})}
    models = {role: _answering(said, given, role) for role, said in told.items()}
    drawn_at = jax.random.key(0) if key is None else key
    lookup = types.Lookup(models["policy"], models.get("ref", _unknown), drawn_at, models)
    before = recipe.init_memory() if memory is None else memory
    return recipe.credit(drawn, rewards, columns or {}, lookup, before)


def groups(
    mask: Bool[Array, "P G T"],
    *,
    prompts: Int[Array, "P S"] | None = None,
    completions: Int[Array, "P G T"] | None = None,
) -> types.Groups:
    """Rows of completions, every row with a prompt of its own (of whole rows of ids, right-padded with 0); or unknown.

    Args:
        mask: tokens that count.
        prompts: token ids, where models read them.
        completions: likewise.
    """
    lengths = jnp.max(jnp.where(mask, jnp.arange(1, mask.shape[2] + 1)[None, None], 0), axis=-1)
    ids = jnp.arange(mask.shape[0])
    told = ids[:, None] if prompts is None else prompts
    sizes = jnp.maximum(jnp.sum((told > 0).astype(jnp.int32), axis=1), 1)
    tokens = jnp.zeros(mask.shape, jnp.int32) if completions is None else completions
    return types.Groups(told, sizes, tokens, lengths, mask, ids)


def _answering(said: Said, given: types.Groups, role: str) -> Callable[..., types.TokenStats]:
    def answer(asked: types.Groups, kept_ids: None = None, comparisons: Mapping[str, Any] | None = None):
        if not isinstance(said, types.TokenStats):
            return said(asked)
        if asked.completion_mask is not given.completion_mask or asked.prompts is not given.prompts:
            raise ValueError(
                f"the recipe asks {role!r} about other rows than those given: pass a function of `Groups`."
            )
        if missing := sorted(set(comparisons or {}) - set(said.divergences)):
            raise ValueError(f"the recipe asks {role!r} for {missing}: give TokenStats with these divergences.")
        return said

    return answer


def _unknown(*_: Any) -> types.TokenStats:
    raise ValueError("the recipe compares the policy with a reference: give ref.")
