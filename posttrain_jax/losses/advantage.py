"""Advantages: rewards compared with the rewards of the same group.

A group is every completion of every row that carries the same id, so that large or ragged groups may span rows. NaN
rewards are left out of all statistics and get advantage 0. No gradient flows through any of these.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def group_centered(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """Reward less its group's mean: A_i = r_i - mean(r).

    Exactly 0 where all rewards of the group are equal, and in groups of one.

    Source: Liu et al. 2025 (Dr. GRPO, arXiv:2503.20783), section 3.2.
    """
    return _center(rewards, group_ids)[0]


def group_zscore(
    rewards: Float[Array, "P G"], group_ids: Int[Array, "P"], *, ddof: int = 1, eps: float = 1e-6
) -> Float[Array, "P G"]:
    """Reward in standard deviations from its group's mean: A_i = (r_i - mean(r)) / (std(r) + eps).

    Exactly 0 where all rewards of the group are equal, whatever `eps`, and in groups of one.

    Args:
        rewards: in any unit; NaN where scoring failed.
        group_ids: equal on the rows of one group.
        ddof: the variance is divided by count - ddof. 1 is what TRL and verl compute (torch.std); 0 is numpy's.
        eps: added to the standard deviation, outside the root (TRL 1e-4, verl 1e-6).

    Source: Shao et al. 2024 (GRPO, arXiv:2402.03300), section 4.1.2.
    """
    deviations, counts = _center(rewards, group_ids)
    variance = _group_sum(deviations * deviations, group_ids) / jnp.maximum(counts - ddof, 1)
    std = jnp.sqrt(variance)[:, None]
    return jnp.where(std > 0, deviations / jnp.where(std > 0, std + eps, 1), 0)


def leave_one_out(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """Reward less the mean of the others: A_i = r_i - mean(r_j, j != i) = n / (n - 1) (r_i - mean(r)).

    0 in groups of one, where there are no others.

    Source: Kool et al. 2019; Ahmadian et al. 2024 (RLOO, arXiv:2402.14740).
    """
    deviations, counts = _center(rewards, group_ids)
    return deviations * (counts / jnp.maximum(counts - 1, 1))[:, None]


def per_token(advantages: Float[Array, "P G"], mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """The completion's advantage on each of its counted tokens, 0 elsewhere."""
    return jnp.where(mask, advantages[:, :, None], 0)


def _center(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> tuple[Float[Array, "P G"], Float[Array, "P"]]:
    """Deviations from the group's mean (0 for NaN), and how many rewards of each row's group count."""
    rewards = jax.lax.stop_gradient(rewards)
    valid = ~jnp.isnan(rewards)
    counts = _group_sum(valid.astype(rewards.dtype), group_ids)
    # Measured from the smallest reward of the group, equal rewards have a mean of exactly 0: no rounding is left over
    # that dividing by a tiny standard deviation would blow up.
    lowest = _group_min(jnp.where(valid, rewards, jnp.inf), group_ids)[:, None]
    excess = jnp.where(valid, rewards - lowest, 0)
    mean = _group_sum(excess, group_ids) / jnp.maximum(counts, 1)
    return jnp.where(valid, excess - mean[:, None], 0), counts


def _group_sum(x: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P"]:
    """Sum over the group of each row."""
    first = _first_row(group_ids)
    return jax.ops.segment_sum(jnp.sum(x, axis=1), first, num_segments=x.shape[0])[first]


def _group_min(x: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P"]:
    """Minimum over the group of each row."""
    first = _first_row(group_ids)
    return jax.ops.segment_min(jnp.min(x, axis=1), first, num_segments=x.shape[0])[first]


def _first_row(group_ids: Int[Array, "P"]) -> Int[Array, "P"]:
    """The first row with the same id: a segment number below P, however the ids are chosen and ordered."""
    return jnp.argmax(group_ids[:, None] == group_ids[None, :], axis=1)
