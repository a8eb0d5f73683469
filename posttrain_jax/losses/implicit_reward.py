"""Implicit rewards: what log-probabilities say of a whole completion, in nats (the temperature beta not applied)."""

import jax
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
