"""Choosing rows of a batch at random."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key


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
