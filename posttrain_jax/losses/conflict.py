"""Tokens that good and bad completions of a group have in common: pushed up by the one and down by the other."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def at_edges(
    completions: Int[Array, "P G T"],
    lengths: Int[Array, "P G"],
    advantages: Float[Array, "P G"],
    group_ids: Int[Array, "P"],
) -> Bool[Array, "P G T"]:
    """True on the runs of shared tokens with which completions begin and end.

    A token is shared if some completion of its group with A > 0 and some with A < 0 have it at the same place, counted
    from the beginning or, for the second run, from the end. A run reaches from the edge to the first token that is not.

    Args:
        completions: token ids.
        lengths: tokens before the padding.
        advantages: only their signs matter.
        group_ids: equal on the rows of one group.

    Source: Simoni et al. 2025 (GTPO, arXiv:2508.03772).
    """
    places = jnp.arange(completions.shape[-1])[None, None, :]
    inside = places < lengths[:, :, None]
    mirrored = jnp.clip(lengths[:, :, None] - 1 - places, 0)

    def run(tokens):
        return jnp.cumprod(shared(tokens, inside, advantages, group_ids) & inside, axis=-1).astype(bool)

    backward = run(jnp.take_along_axis(completions, mirrored, axis=-1))
    return run(completions) | (jnp.take_along_axis(backward, mirrored, axis=-1) & inside)


def shared(
    tokens: Int[Array, "P G T"],
    inside: Bool[Array, "P G T"],
    advantages: Float[Array, "P G"],
    group_ids: Int[Array, "P"],
) -> Bool[Array, "P G T"]:
    """Whether completions of both signs have this token in this column, the completion itself included."""
    owners = jnp.broadcast_to(group_ids[:, None], advantages.shape)
    rows = (tokens, owners)
    all_tokens, all_inside = (x.reshape(1, -1, x.shape[-1]) for x in (tokens, inside))
    all_signs, all_owners = (x.reshape(1, -1, 1) for x in (jnp.sign(advantages), owners))

    def one(row):
        token, owner = row
        same = (token[:, None, :] == all_tokens) & (owner[:, None, None] == all_owners) & all_inside
        return jnp.any(same & (all_signs > 0), axis=1) & jnp.any(same & (all_signs < 0), axis=1)

    return jax.lax.map(one, rows)
