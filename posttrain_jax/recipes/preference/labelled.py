"""What recipes of unpaired data share: single completions, each called desirable or not."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import types
from posttrain_jax.losses import implicit_reward, weight
from posttrain_jax.recipes.preference import column


def labels(recipe: Any, groups: types.Groups, columns: Mapping[str, Array]) -> Bool[Array, "P"]:
    """Which rows are desirable: those whose column `desirable` is 1 rather than 0.

    Raises:
        ValueError: rows do not hold one completion, or there is no such column.
    """
    count = groups.completions.shape[1]
    if count != 1:
        name = type(recipe).__name__
        raise ValueError(f"{name} wants one completion in every row, not {count}: give each a row and a label.")
    return column.take(recipe, columns, "desirable") > 0.5


def credit(
    groups: types.Groups, desirable: Bool[Array, "P"], ref_logps: Float[Array, "P 1 T"], baseline: Float[Array, ""]
) -> types.LabelledBatch:
    """Every completion counts alike, measured from `baseline`; an empty one does not count."""
    mask = groups.completion_mask
    return types.LabelledBatch(
        completion_mask=mask,
        row_weights=weight.pair_mean(mask),
        desirable=desirable,
        baselines=jnp.broadcast_to(baseline, desirable.shape),
        ref_logps=ref_logps,
    )


def mismatched(groups: types.Groups) -> types.Groups:
    """Every prompt with the completion of the counted row before, by `group_ids`.

    Empty rows, and one that is alone, get none. The order of the rows and rows that fill the batch up change nothing.
    """
    counted = jnp.any(groups.completion_mask, axis=(1, 2))
    order = jnp.argsort(jnp.where(counted, groups.group_ids, jnp.iinfo(groups.group_ids.dtype).max))
    count = jnp.sum(counted)
    before = order[(jnp.argsort(order) - 1) % jnp.maximum(count, 1)]
    return dataclasses.replace(
        groups,
        completions=groups.completions[before],
        completion_lengths=groups.completion_lengths[before],
        completion_mask=groups.completion_mask[before] & (counted & (count > 1))[:, None, None],
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
