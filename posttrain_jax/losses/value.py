"""Losses of a critic's values, token by token, before they are weighted and summed."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types


def of(stats: types.TokenStats) -> Float[Array, "P G T"]:
    """What the model's critic expects.

    Raises:
        ValueError: it has none.
    """
    if stats.values is None:
        raise ValueError("a critic is needed, and the model has none: give one whose token_stats hold values.")
    return stats.values


def clipped(
    values: Float[Array, "P G T"],
    old_values: Float[Array, "P G T"],
    returns: Float[Array, "P G T"],
    *,
    clip: float = 0.2,
) -> Float[Array, "P G T"]:
    """Half the larger squared error of the value and of the value held near the old one.

    max((V - R)^2, (clip(V, V_old - clip, V_old + clip) - R)^2) / 2: no gradient once a value has moved `clip` towards
    its return.

    Args:
        values: of the critic; only this is differentiated.
        old_values: at the start of the update.
        returns: to fit to (`returns.gae` plus `old_values`).
        clip: in units of the reward.

    Source: Schulman et al. 2017 (PPO), as in the authors' code (openai/baselines, ppo2).
    """
    old_values, returns = jax.lax.stop_gradient((old_values, returns))
    near = jnp.clip(values, old_values - clip, old_values + clip)
    return jnp.maximum((values - returns) ** 2, (near - returns) ** 2) / 2


def squared(values: Float[Array, "P G T"], returns: Float[Array, "P G T"]) -> Float[Array, "P G T"]:
    """(V - R)^2 / 2; only the values are differentiated."""
    return (values - jax.lax.stop_gradient(returns)) ** 2 / 2
