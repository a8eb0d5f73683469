"""Positions at which the completions of a group are chosen from different distributions.

Completions are compared at the same position, which means something as long as they begin alike.

Source: Dang et al. 2025 (TW-GRPO, arXiv:2505.24718), as in the authors' code.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

LIMIT = 11.0
"""Nats within which the code holds differences of log-probabilities."""


def disagreement(log_probs: Float[Array, "P G T V"], mask: Bool[Array, "P G T"]) -> Float[Array, "P T"]:
    """mean_g sum_v (exp(d) - d - 1), d = mean_g'(log p_g') - log p_g: as in the code, padding being uniform.

    The sum over the vocabulary is not weighted by probability, so that what nobody would say rules it; `divergence` is
    the clean form. A row is a group.
    """
    known = jnp.where(mask[..., None], log_probs, -math.log(log_probs.shape[-1]))
    gaps = jnp.clip(jnp.mean(known, axis=1, keepdims=True) - known, -LIMIT, LIMIT)
    return jnp.mean(jnp.sum(jnp.expm1(gaps) - gaps, axis=-1), axis=1)


def divergence(log_probs: Float[Array, "P G T V"], mask: Bool[Array, "P G T"]) -> Float[Array, "P T"]:
    """mean_g KL(p_g || mean_g' p_g') over the completions that have a token there: the Jensen-Shannon divergence."""
    counts = jnp.maximum(jnp.sum(mask.astype(log_probs.dtype), axis=1), 1)
    probs = jnp.where(mask[..., None], jnp.exp(log_probs), 0)
    middle = jnp.sum(probs, axis=1) / counts[..., None]
    logs = jnp.log(jnp.where(middle > 0, middle, 1))[:, None]
    terms = jnp.where(probs > 0, probs * (jnp.where(probs > 0, log_probs, 0) - logs), 0)
    return jnp.sum(terms, axis=(1, 3)) / counts


def weights(values: Float[Array, "P T"], mask: Bool[Array, "P G T"], *, most: float) -> Float[Array, "P G T"]:
    """w = 1 + (most - 1) (x - min) / (max - min) over the row's positions that any completion has; 0 off the mask.

    Args:
        values: how much a position tells completions apart.
        mask: tokens that count.
        most: the weight of the position that does most (alpha); 1 weighs all alike.
    """
    there = jnp.any(mask, axis=1)
    low = jnp.min(jnp.where(there, values, jnp.inf), axis=-1, keepdims=True)
    high = jnp.max(jnp.where(there, values, -jnp.inf), axis=-1, keepdims=True)
    spread = jnp.where(jnp.isfinite(high - low), high - low, 0) + 1e-8
    shares = jnp.where(there, (values - jnp.where(jnp.isfinite(low), low, 0)) / spread, 0)
    return jnp.where(mask, 1 + (most - 1) * shares[:, None], 0)
