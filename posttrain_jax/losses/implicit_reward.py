"""Implicit rewards: what log-probabilities say of a whole completion, in nats (the temperature beta not applied)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked


def log_ratio_sum(
    logps: Float[Array, "P K T"], ref_logps: Float[Array, "P K T"], mask: Bool[Array, "P K T"]
) -> Float[Array, "P K"]:
    """log pi(y) - log pi_ref(y), summed over the completion. The reference is not differentiated.

    Source: Rafailov et al. 2023 (DPO, arXiv:2305.18290), eq. 5.
    """
    return masked.total(logps - jax.lax.stop_gradient(ref_logps), mask, axis=-1)


def log_ratio_mean(
    logps: Float[Array, "P K T"], ref_logps: Float[Array, "P K T"], mask: Bool[Array, "P K T"]
) -> Float[Array, "P K"]:
    """The same per token: (log pi(y) - log pi_ref(y)) / n, 0 for a completion without tokens."""
    return masked.mean(logps - jax.lax.stop_gradient(ref_logps), mask, axis=-1)


def log_odds(mean_logps: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """log(p / (1 - p)) of p = exp(x), the geometric mean of a completion's token probabilities.

    Held (without gradient) at x = -1e-7, where the odds are 1e7.

    Args:
        mean_logps: x, in nats per token. Sums, as in some implementations, make p vanish and the odds p itself.

    Source: Hong et al. 2024 (ORPO, arXiv:2403.07691), eq. 4.
    """
    x = jnp.minimum(mean_logps, -1e-7)
    return x - jax.nn.log1mexp(-x)


def overhang_discount(mask: Bool[Array, "P K T"], *, discount: float) -> Float[Array, "P K T"]:
    """Weights of tokens: 1 as far as the row's shortest completion reaches, `discount` beyond, 0 where not counted.

    Source: Liu et al. 2024 (LD-DPO, arXiv:2409.06411).
    """
    positions = jnp.cumsum(mask, axis=-1)
    shortest = jnp.min(positions[:, :, -1], axis=-1)
    return jnp.where(mask, jnp.where(positions <= shortest[:, None, None], 1.0, discount), 0.0)
