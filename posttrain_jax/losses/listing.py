"""Completions that are lists: what ranks earn, and how a list ends.

Source: Zhu et al. 2025 (Rank-GRPO, arXiv:2510.20150) and the authors' code.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.losses import returns

Gain = Callable[[Float[Array, "P G S"]], Float[Array, "P G S"]]
"""From the rewards of a list's items to those of its ranks: `log_decay`, `own`."""


def log_decay(items: Float[Array, "P G S"]) -> Float[Array, "P G S"]:
    """r_k = sum_{j >= k} rel_j / log2(j + 1), ranks from 1: the discounted gain that rank k and later ones bring.

    Args:
        items: rel_j, 1 where the j-th item is right.
    """
    discounts = 1 / jnp.log2(jnp.arange(2, items.shape[-1] + 2, dtype=items.dtype))
    return jnp.cumsum((items * discounts[None, None])[:, :, ::-1], axis=-1)[:, :, ::-1]


def own(items: Float[Array, "P G S"]) -> Float[Array, "P G S"]:
    """r_k = rel_k: each rank by its item alone (`exp_inf` in the code)."""
    return items


def ending(
    ids: Int[Array, "P G T"],
    mask: Bool[Array, "P G T"],
    truncated: Bool[Array, "P G"],
    count: int,
    *,
    beyond: float,
    ended: float,
    cut: float,
) -> Float[Array, "P G T"]:
    """Advantages of where a list ends; NaN on the tokens of its ranks, which have others.

    Args:
        ids: the rank of each token, from 0.
        mask: tokens that count.
        truncated: completions without a stop token, which else is the last that counts.
        count: ranks of a complete list.
        beyond: of tokens behind the last rank.
        ended: of the stop token where there are exactly `count` ranks.
        cut: of the stop token where there are fewer.
    """
    stop = returns.at_last(jnp.where(truncated, 0.0, 1.0), mask) > 0
    listed = (jnp.max(jnp.where(mask & ~stop, ids, -1), axis=-1) + 1)[:, :, None]
    last = jnp.where(listed < count, cut, jnp.where(listed == count, ended, 0.0))
    other = jnp.where(ids >= count, beyond, jnp.nan)
    return jnp.where(mask, jnp.where(stop, last, other), jnp.nan)
