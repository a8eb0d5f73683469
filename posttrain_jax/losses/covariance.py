"""Which tokens make the policy surer: the covariance of log-probability and advantage.

A small step of policy gradient changes the entropy by about minus its size times that covariance.

Source: Cui et al. 2025 (arXiv:2505.22617).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked


def of_tokens(
    logps: Float[Array, "P G T"], advantages: Float[Array, "P G T"], mask: Bool[Array, "P G T"]
) -> Float[Array, "P G T"]:
    """(A_t - mean(A)) (log pi_t - mean(log pi)), means over all counted tokens of the batch; 0 elsewhere.

    Args:
        logps: of the policy before the update, in nats.
        advantages: one per token.
        mask: tokens that count.
    """
    logps, advantages = jax.lax.stop_gradient((logps, advantages))
    spreads = (x - masked.mean(x, mask) for x in (logps, advantages))
    first, second = (jnp.where(mask, spread, 0) for spread in spreads)
    return first * second
