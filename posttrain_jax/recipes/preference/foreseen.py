"""What recipes share whose pairs look at one another: credit from the policy as it is before the update.

Losses only add, so what couples rows is decided in `credit`, from the log-probabilities of the policy that the update
starts from. Micro-batches and devices then change nothing.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import types


def extra(recipe: Any, batch: types.PreferenceBatch, name: str) -> Array:
    """What credit left in the batch under `name`, or a refusal."""
    if name not in batch.extra:
        raise ValueError(f"{type(recipe).__name__} reads {name!r}: let its credit make the batch.")
    return batch.extra[name]


def at_rank(x: Float[Array, "P"], of: Float[Array, "P"], counted: Bool[Array, "P"]) -> Float[Array, "P"]:
    """For each row, that value of `of` which has the same rank among `of` as the row's `x` has among `x`.

    Rows that do not count have no rank, and get 0.
    """
    x, of = jnp.where(counted, x, jnp.inf), jnp.where(counted, of, jnp.inf)
    ranks = jnp.argsort(jnp.argsort(x))
    return jnp.where(counted, jnp.sort(of)[ranks], 0)
