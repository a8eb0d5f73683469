"""Corrections for a sampler that is not quite the policy: weights of tokens, free of gradient.

The log-ratios are log old / sampler: `old` is what the trainer computes for the policy that sampled, `sampler` what the
sampler said. They are pooled first (`ratio.per_token`, `ratio.sequence_sum`, `ratio.sequence_mean`), so one function
serves tokens and sequences.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked
from posttrain_jax.losses import ratio


def truncated(log_ratios: Float[Array, "P G T"], *, cap: float) -> Float[Array, "P G T"]:
    """Truncated importance weight: min(r, cap).

    Args:
        log_ratios: log old / sampler, in nats.
        cap: the largest weight (C, 2 in the source).

    Source: Yao et al. 2025 (TIS, fengyao.notion.site/off-policy-rl).
    """
    return jax.lax.stop_gradient(jnp.minimum(ratio.exp(log_ratios), cap))


def within(log_ratios: Float[Array, "P G T"], *, low: float, high: float) -> Float[Array, "P G T"]:
    """Masked importance weight: r where low <= r <= high, else 0.

    Args:
        log_ratios: log old / sampler, in nats.
        low: the smallest weight that is kept.
        high: the largest weight that is kept.

    Source: Ling Team 2025 (IcePop, arXiv:2510.18855) by token; Liu et al. 2025 (MIS) by sequence.
    """
    r = ratio.exp(log_ratios)
    return jax.lax.stop_gradient(jnp.where((r >= low) & (r <= high), r, 0))


def unless_stale(
    logps: Float[Array, "P G T"],
    sampler_logps: Float[Array, "P G T"],
    advantages: Float[Array, "P G T"],
    mask: Bool[Array, "P G T"],
    *,
    limit: float,
) -> Float[Array, "P G T"]:
    """Off-policy sequence mask: 0 where A < 0 and mean_t(log sampler / policy) > limit, else 1.

    Completions of negative advantage that the policy has moved away from since are no longer pushed down.

    Args:
        logps: of the policy, now.
        sampler_logps: of the sampler.
        advantages: positive for tokens to make likelier.
        mask: tokens that count.
        limit: delta, in nats per token.

    Source: DeepSeek-AI 2025 (DeepSeek-V3.2, arXiv:2512.02556).
    """
    drift = masked.mean(jax.lax.stop_gradient(sampler_logps - logps), mask, axis=-1)[:, :, None]
    return jnp.where((advantages < 0) & (drift > limit), 0, jnp.ones_like(advantages))
