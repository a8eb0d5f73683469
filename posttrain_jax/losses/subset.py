"""Advantages for the best of k completions, from all subsets of a larger group at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from posttrain_jax.losses import advantage, group


def best_of_k(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"], *, k: int) -> Float[Array, "P G"]:
    """What each completion adds to the best of k, averaged over the subsets S of k that hold it or do not.

    A_i = sum over S containing i of (max_S(r) - max_{S without i}(r)) / C(n, k), for a group of n. With the rewards in
    ascending order this is sum_{j < i} C(j, k - 2) (r_i - r_j) / C(n, k), j counted from 0. Summed over a group, the
    expected gradient is exactly that of the expected best of k. With k = n this is `advantage.best_of_group`. 0 in
    groups of fewer than k.

    Args:
        rewards: in any unit; NaN where scoring failed.
        group_ids: equal on the rows of one group.
        k: at least 2.

    Source: Walder and Karkhanis 2025 (PKPO, arXiv:2505.15201); Tang et al. 2025 (arXiv:2503.19595).
    """
    centered = advantage.group_centered(rewards, group_ids)
    valid = ~jnp.isnan(rewards)
    counts = group.total(valid.astype(centered.dtype), group_ids)
    ranks = group.rank(centered, valid, group_ids)
    owners = jnp.broadcast_to(group_ids[:, None], rewards.shape)
    all_values, all_owners = (x.reshape(1, -1) for x in (centered, owners))
    subsets = _choose(counts, k)
    shares = _choose(ranks, k - 2) / jnp.where(subsets > 0, subsets, 1)[:, None]
    shares = jnp.where(valid & (subsets > 0)[:, None], shares, 0).reshape(1, -1)

    def added(row):
        value, owner = (x[:, None] for x in row)
        ahead = jnp.where(all_owners == owner, jnp.maximum(value - all_values, 0), 0)
        return jnp.sum(shares * ahead, axis=1)

    return jnp.where(valid, jax.lax.map(added, (centered, owners)), 0)


def _choose(n: Float[Array, "*shape"], k: int) -> Float[Array, "*shape"]:
    """Binomial coefficients C(n, k) of whole numbers."""
    product = jnp.ones_like(n)
    for i in range(k):
        product *= (n - i) / (i + 1)
    return jnp.maximum(product, 0)
