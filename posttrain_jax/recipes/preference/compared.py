"""Completions of a row compared with one another: M comparisons a row, each of K places of its group."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from posttrain_jax import types


def pick(x: Array, members: Int[Array, "P M K"]) -> Array:
    """From [P, G, ...], the compared places: [P * M, K, ...]."""
    picked = jax.vmap(lambda row, places: row[places])(x, members)
    return picked.reshape(-1, *picked.shape[2:])


def rows(groups: types.Groups, members: Int[Array, "P M K"], used: Bool[Array, "Q K"]) -> types.Groups:
    """A row for each comparison, its prompt repeated; completions that are not used are empty."""
    count = members.shape[1]
    return types.Groups(
        prompts=jnp.repeat(groups.prompts, count, axis=0),
        prompt_lengths=jnp.repeat(groups.prompt_lengths, count, axis=0),
        completions=pick(groups.completions, members),
        completion_lengths=jnp.where(used, pick(groups.completion_lengths, members), 0),
        completion_mask=pick(groups.completion_mask, members) & used[..., None],
        group_ids=jnp.repeat(groups.group_ids, count, axis=0),
    )


def mentioned(members: Int[Array, "P M K"], used: Bool[Array, "Q K"], group_size: int) -> Bool[Array, "P G"]:
    """Which places of a row are in any comparison."""
    there = members[..., None] == jnp.arange(group_size)[None, None, None]
    return jnp.any(there & used.reshape(*members.shape, 1), axis=(1, 2))
