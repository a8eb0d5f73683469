"""Log-ratios of policy to old policy, in nats, one per token; what belongs to a sequence stands on each token."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked

LIMIT = 20.0
"""Nats beyond which a ratio is held constant (as in verl): exp(20) = 4.9e8 and its products are finite in float32."""

Pool = Callable[[Float[Array, "P G T"], Bool[Array, "P G T"]], Float[Array, "P G T"]]
"""From log-ratios and mask to log-ratios: `per_token`, `sequence_sum`, `sequence_mean`, `sequence_token`."""


def token(logps: Float[Array, "P G T"], old_logps: Float[Array, "P G T"] | None) -> Float[Array, "P G T"]:
    """log pi(y_t) - log pi_old(y_t).

    Args:
        logps: of the policy; only this is differentiated.
        old_logps: at the start of the update; None says that the policy has not moved since, and the log-ratio is then
            exactly 0 with the gradient of `logps`.

    Source: Schulman et al. 2017 (PPO, arXiv:1707.06347), eq. 6.
    """
    return logps - jax.lax.stop_gradient(logps if old_logps is None else old_logps)


def per_token(log_ratios: Float[Array, "P G T"], mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """Each token's own log-ratio: for where `sequence_sum` or `sequence_mean` could be asked for instead."""
    return jnp.where(mask, log_ratios, 0)


def sequence_sum(log_ratios: Float[Array, "P G T"], mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """Log-ratio of the whole completion, sum_t l_t, on each of its tokens: exact, but it grows with the length."""
    sums = masked.total(log_ratios, mask, axis=-1)
    return jnp.where(mask, sums[:, :, None], 0)


def sequence_mean(log_ratios: Float[Array, "P G T"], mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """Mean log-ratio of the completion, sum_t l_t / n, on each of its tokens: its exponential is a geometric mean.

    Source: Zheng et al. 2025 (GSPO, arXiv:2507.18071), eq. 7.
    """
    means = masked.mean(log_ratios, mask, axis=-1)
    return jnp.where(mask, means[:, :, None], 0)


def sequence_token(log_ratios: Float[Array, "P G T"], mask: Bool[Array, "P G T"]) -> Float[Array, "P G T"]:
    """The value of `sequence_mean` with the gradient of the token's own: l_t - sg(l_t) + sg(mean(l)).

    Source: Zheng et al. 2025 (GSPO-token, arXiv:2507.18071).
    """
    means = jax.lax.stop_gradient(sequence_mean(log_ratios, mask))
    return jnp.where(mask, log_ratios - jax.lax.stop_gradient(log_ratios), 0) + means


def one_sided(
    log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"], *, low: float, high: float
) -> Float[Array, "P G T"]:
    """Log-ratios held back in the direction of the advantage: min(l, high) where A > 0, max(l, -low) where A < 0.

    Args:
        log_ratios: log policy / old, in nats.
        advantages: positive for tokens to make likelier.
        low: how far below 0 a log-ratio may fall before a negative advantage stops pushing, in nats.
        high: how far above 0 it may rise before a positive one does, in nats.

    Source: Zhao et al. 2025 (GMPO, arXiv:2507.20673).
    """
    return jnp.where(advantages > 0, jnp.minimum(log_ratios, high), jnp.maximum(log_ratios, -low))


def exp(log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The ratio itself, exp(clip(l, -LIMIT, LIMIT)); beyond the limit it is constant and has no gradient."""
    return jnp.exp(jnp.clip(log_ratios, -LIMIT, LIMIT))
