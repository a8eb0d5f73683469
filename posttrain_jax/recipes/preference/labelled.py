"""What recipes of unpaired data share: single completions, each called desirable or not."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import types
from posttrain_jax.losses import implicit_reward, weight


def credit(
    recipe: Any,
    groups: types.Groups,
    ref_logps: Float[Array, "P 1 T"] | None,
    desirable: Bool[Array, "P"] | None,
    baseline: Float[Array, ""] | None,
) -> types.LabelledBatch:
    """Every completion counts alike; an empty one does not count.

    Raises:
        ValueError: rows do not hold one completion, or something is missing.
    """
    name, count = type(recipe).__name__, groups.completions.shape[1]
    if count != 1:
        raise ValueError(f"{name} wants one completion in every row, not {count}: give each a row and a label.")
    if ref_logps is None:
        raise ValueError(f"{name} compares the policy with a reference: pass ref_logps.")
    if desirable is None or baseline is None:
        raise ValueError(f"{name} needs labels and what rewards are measured from: pass desirable and baseline.")
    mask = groups.completion_mask
    return types.LabelledBatch(
        completion_mask=mask,
        row_weights=weight.pair_mean(mask),
        desirable=desirable,
        baselines=jnp.broadcast_to(baseline, desirable.shape),
        ref_logps=ref_logps,
    )


def log_ratios(recipe: Any, policy: types.TokenStats, batch: types.LabelledBatch) -> Float[Array, "P"]:
    """log pi(y) - log pi_ref(y) of each row's completion, in nats."""
    if batch.ref_logps is None:
        raise ValueError(f"{type(recipe).__name__} compares the policy with a reference: give the batch ref_logps.")
    return implicit_reward.log_ratio_sum(policy.logps, batch.ref_logps, batch.completion_mask)[:, 0]


def report(margins: Float[Array, "P"], batch: types.LabelledBatch) -> types.Metrics:
    """Rewards less what they are measured from, beta included, and whether their sign is that of the label."""
    right = (margins > 0) == batch.desirable
    return {"margin": margins, "accuracy": right.astype(jnp.float32), "desirable": batch.desirable.astype(jnp.float32)}
