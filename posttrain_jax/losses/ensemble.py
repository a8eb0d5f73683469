"""One reward from several reward models' (on the last axis): what they agree on is worth more than what one says.

Members that differ in scale must be brought to one first: a variance is in squared units of the reward.

Source: Coste et al. 2023, arXiv:2310.02743, section 3.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Reducer = Callable[[Float[Array, "*shape k"]], Float[Array, "*shape"]]
"""From the members' rewards to one: `mean`, `worst_case`, or `uncertainty_weighted` with its coefficient."""


def mean(rewards: Float[Array, "*shape k"]) -> Float[Array, "*shape"]:
    """mean_k R_k."""
    return jnp.mean(rewards, axis=-1)


def worst_case(rewards: Float[Array, "*shape k"]) -> Float[Array, "*shape"]:
    """min_k R_k (WCO), never above the mean."""
    return jnp.min(rewards, axis=-1)


def uncertainty_weighted(rewards: Float[Array, "*shape k"], *, coef: float, ddof: int = 0) -> Float[Array, "*shape"]:
    """mean_k R_k - coef Var_k R_k (UWO).

    Args:
        rewards: of each member.
        coef: lambda; 0 is the mean. The paper uses 0.5 for best-of-N and 0.1 for PPO.
        ddof: taken from the number of members in the variance's divisor: 0 as in the authors' best-of-N, 1 as in
            their PPO.

    Raises:
        ValueError: there are not more than `ddof` members.
    """
    count = rewards.shape[-1]
    if count <= ddof:
        raise ValueError(f"{count} members have no variance with ddof={ddof}: take more members, or ddof=0.")
    return mean(rewards) - coef * jnp.var(rewards, axis=-1, ddof=ddof)
