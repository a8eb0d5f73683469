"""Groups in which some completions are given answers: compared with the policy's own, in one reward.

Source: Wang et al. 2025 (GRAO, arXiv:2508.07750), eq. 2 to 4.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.losses import group


def zscore_among(
    rewards: Float[Array, "P G"], among: Bool[Array, "P G"], group_ids: Int[Array, "P"], *, eps: float = 1e-6
) -> Float[Array, "P G"]:
    """Every reward in standard deviations from the mean of some of its group: (r_i - mean_S(r)) / (std_S(r) + eps).

    The standard deviation is the population's. 0 where it is 0, and where the reward is NaN. No gradient flows.

    Args:
        rewards: in any unit; NaN where scoring failed.
        among: S, the completions that mean and deviation are of.
        group_ids: equal on the rows of one group.
        eps: added to the standard deviation.
    """
    rewards = jax.lax.stop_gradient(rewards)
    valid = ~jnp.isnan(rewards)
    counted = (valid & among).astype(rewards.dtype)
    # Measured from the lowest, equal rewards deviate by exactly 0.
    lowest = group.minimum(jnp.where(valid, rewards, jnp.inf), group_ids)[:, None]
    excess = jnp.where(valid, rewards - lowest, 0)
    count = jnp.maximum(group.total(counted, group_ids), 1)
    mean = (group.total(counted * excess, group_ids) / count)[:, None]
    deviations = jnp.where(valid, excess - mean, 0)
    std = jnp.sqrt(group.total(counted * deviations**2, group_ids) / count)[:, None]
    return jnp.where(std > 0, deviations / jnp.where(std > 0, std + eps, 1), 0)
