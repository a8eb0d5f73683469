"""Choosing rows or tokens of a batch, by rank or at random."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from posttrain_jax import types


def without_replacement(
    log_weights: Float[Array, "P"],
    counted: Bool[Array, "P"],
    ids: Int[Array, "P"],
    key: Key[Array, ""],
    *,
    share: float,
) -> Bool[Array, "P"]:
    """A share of the counted rows, drawn one after the other in proportion to their weights (Gumbel top-k).

    Args:
        log_weights: logarithms of the weights, up to a constant.
        counted: rows that may be drawn.
        ids: of the rows: the draw depends on them and not on the order, and rows of one id share their luck.
        key: consumed.
        share: of the counted rows to draw, rounded to whole rows.

    Source: Kool et al. 2019 (arXiv:1903.06059), section 2.3.
    """
    noise = jax.vmap(lambda id: jax.random.gumbel(jax.random.fold_in(key, id)))(ids)
    ranks = jnp.argsort(jnp.argsort(jnp.where(counted, -(log_weights + noise), jnp.inf)))
    return counted & (ranks < jnp.round(share * jnp.sum(counted).astype(jnp.float32)).astype(ranks.dtype))


def highest(x: Float[Array, "*shape"], counted: Bool[Array, "*shape"], count: Int[Array, ""]) -> Bool[Array, "*shape"]:
    """The `count` counted positions of the largest `x`, or all there are; of equal ones the earlier."""
    ranks = jnp.argsort(jnp.argsort(jnp.where(counted, -x, jnp.inf).reshape(-1))).reshape(x.shape)
    return counted & (ranks < count)


def share_of(counted: Bool[Array, "*shape"], share: float) -> Int[Array, ""]:
    """A share of the counted positions, rounded down, and at least 1."""
    return jnp.maximum(jnp.floor(share * jnp.sum(counted).astype(jnp.float32)), 1).astype(int)


def luck(groups: types.Groups, key: Key[Array, ""]) -> Float[Array, "P G T"]:
    """A uniform number in [0, 1) for every token, as good as independent of one another.

    It depends on the key, the prompt's id, the whole completion and the place in it, and not on the batch: however rows
    are ordered, split or padded, a token keeps its luck. Equal completions of one prompt share it.
    """
    places = jnp.arange(groups.completions.shape[-1], dtype=jnp.uint32)[None, None, :]
    inside = places < groups.completion_lengths[:, :, None].astype(jnp.uint32)
    words = _mixed(_mixed(groups.completions.astype(jnp.uint32)) + places)
    names = jnp.sum(jnp.where(inside, words, 0), axis=-1, dtype=jnp.uint32)
    rows = _mixed(jax.random.bits(key, (), jnp.uint32) ^ groups.group_ids.astype(jnp.uint32))
    bits = _mixed(_mixed(rows[:, None, None] ^ names[:, :, None]) + places)
    return (bits >> 8).astype(jnp.float32) * jnp.float32(2**-24)


def _mixed(x: UInt32[Array, "*shape"]) -> UInt32[Array, "*shape"]:
    """A hash in which every bit depends on every bit: the finaliser of MurmurHash3, shifted off 0."""
    x = x + np.uint32(0x9E3779B9)
    x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
