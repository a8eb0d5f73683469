"""Rewards of a prompt over all the times it was drawn.

Source: DCPO 2025 (arXiv:2509.02333), smooth advantage standardisation, as in the authors' code.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from posttrain_jax import pytree
from posttrain_jax.losses import advantage, group


@pytree.struct
class Moments:
    """What was seen of each of Q prompts."""

    count: Float[Array, "Q"]
    """Visits so far (k)."""
    mean: Float[Array, "Q"]
    """Of the rewards of all visits (M)."""
    std: Float[Array, "Q"]
    """Their standard deviation (S), ddof 1 within a visit."""


def none(prompts: int) -> Moments:
    """Before the first visit of any of so many prompts."""
    nothing = jnp.zeros(prompts, jnp.float32)
    return Moments(count=nothing, mean=nothing, std=nothing)


def smooth(
    rewards: Float[Array, "P G"], group_ids: Int[Array, "P"], seen: Moments
) -> tuple[Float[Array, "P G"], Moments]:
    """Advantages from this visit and from all visits, the smaller of two mixtures, and the moments with this visit.

    On visit i, with mu and s of this one and M', S' of all: A_new = (r - mu) / s, A_all = (r - M') / S' (0 where the
    deviation is), and A is whichever of ((i - 1) A_new + A_all) / i and (A_new + (i - 1) A_all) / i is smaller in size.

    Args:
        rewards: NaN where scoring failed.
        group_ids: of the prompts: places in `seen`; others have no memory.
        seen: before this visit.
    """
    rewards = jax.lax.stop_gradient(rewards)
    valid = ~jnp.isnan(rewards)
    values, counts = jnp.where(valid, rewards, 0), group.total(valid.astype(rewards.dtype), group_ids)
    centered = advantage.group_centered(rewards, group_ids)
    mu = group.total(values, group_ids) / jnp.maximum(counts, 1)
    std = jnp.sqrt(group.total(centered**2, group_ids) / jnp.maximum(counts - 1, 1))
    before = jax.tree.map(lambda x: x.at[group_ids].get(mode="fill", fill_value=0, wrap_negative_indices=False), seen)
    k, visit = before.count, before.count + 1
    mean = (k * before.mean + mu) / visit
    squares = k * before.std**2 + std**2 + k / visit * (mu - before.mean) ** 2
    all_std = jnp.where(k > 0, jnp.sqrt(squares / visit), std)
    # Equal rewards of several visits differ by rounding, which no division must blow up.
    all_std = jnp.where(all_std > 1e-6 * jnp.maximum(jnp.abs(mean), 1), all_std, 0)
    new, old = _over(centered, std[:, None]), _over(rewards - mean[:, None], all_std[:, None])
    share = 1 / visit[:, None]
    mixtures = (1 - share) * new + share * old, share * new + (1 - share) * old
    smaller = jnp.where(jnp.abs(mixtures[0]) < jnp.abs(mixtures[1]), *mixtures)
    places = jnp.where((counts > 0) & (group_ids >= 0), group_ids, seen.count.shape[0])
    after = Moments(count=visit, mean=mean, std=all_std)
    kept = jax.tree.map(lambda table, x: table.at[places].set(x, mode="drop"), seen, after)
    return jnp.where(valid, smaller, 0), kept


def _over(x: Float[Array, "P G"], std: Float[Array, "P 1"]) -> Float[Array, "P G"]:
    return jnp.where(std > 0, x / jnp.where(std > 0, std, 1), 0)
