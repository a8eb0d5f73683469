"""Statistics over groups: all completions of all rows that carry the same id, given back for each row."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def total(x: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P"]:
    """Sum over the group of each row."""
    first = first_row(group_ids)
    return jax.ops.segment_sum(jnp.sum(x, axis=1), first, num_segments=x.shape[0])[first]


def minimum(x: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P"]:
    """Minimum over the group of each row."""
    first = first_row(group_ids)
    return jax.ops.segment_min(jnp.min(x, axis=1), first, num_segments=x.shape[0])[first]


def maximum(x: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P"]:
    """Maximum over the group of each row."""
    return -minimum(-x, group_ids)


def count(rows: Bool[Array, "P"], group_ids: Int[Array, "P"]) -> Float[Array, ""]:
    """How many different groups the True rows belong to."""
    anywhere = maximum(rows[:, None].astype(jnp.float32), group_ids)
    return jnp.sum(jnp.where(first_row(group_ids) == jnp.arange(rows.shape[0]), anywhere, 0))


def contrast(
    rewards: Float[Array, "P G"], sides: Float[Array, "P G"], group_ids: Int[Array, "P"], *, margin: float
) -> Float[Array, "P"]:
    """1 where completions of the one side are better on average by more than `margin`, -1 where the others are, else 0.

    0 also where a side has no scored completion.

    Args:
        rewards: NaN where scoring failed.
        sides: above 1/2 for the one side; NaN for neither.
        group_ids: equal on the rows of one group.
        margin: in the unit of the rewards.
    """
    known = ~jnp.isnan(rewards) & ~jnp.isnan(sides)
    means, counts = [], []
    for side in (known & (sides > 0.5), known & ~(sides > 0.5)):
        counts.append(total(side.astype(rewards.dtype), group_ids))
        means.append(total(jnp.where(side, rewards, 0), group_ids) / jnp.maximum(counts[-1], 1))
    gap = means[0] - means[1]
    sign = jnp.where(gap > margin, 1.0, jnp.where(gap < -margin, -1.0, 0.0))
    return jnp.where((counts[0] > 0) & (counts[1] > 0), sign, 0)


def rank(x: Float[Array, "P G"], counted: Bool[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """How many counted members of the group lie below, from 0; of equal ones the earlier is the lower."""
    owners = jnp.broadcast_to(group_ids[:, None], x.shape)
    places = jnp.arange(x.size).reshape(x.shape)
    all_values, all_owners, all_places, all_counted = (y.reshape(1, -1) for y in (x, owners, places, counted))

    def one(row):
        value, owner, place = (y[:, None] for y in row)
        lower = (all_values < value) | ((all_values == value) & (all_places < place))
        return jnp.sum(lower & (all_owners == owner) & all_counted, axis=1).astype(x.dtype)

    return jax.lax.map(one, (x, owners, places))


def first_row(group_ids: Int[Array, "P"]) -> Int[Array, "P"]:
    """The first row with the same id: a segment number below P, however the ids are chosen and ordered."""
    return jnp.argmax(group_ids[:, None] == group_ids[None, :], axis=1)
