"""What recipes of pairs share: the batch of (chosen, rejected), the log-probabilities of both, the report.

Numbers are one a row, in nats; sums and means are over the counted tokens of a completion.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import implicit_reward, weight

Pair = tuple[Float[Array, "P"], Float[Array, "P"]]
"""Chosen and rejected."""


def credit(recipe: Any, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None) -> types.PreferenceBatch:
    """Every pair counts alike; one with an empty completion does not count. A reference that is not needed is left out.

    Raises:
        ValueError: rows do not hold two completions, or the recipe needs a reference and has none.
    """
    name, count = type(recipe).__name__, groups.completions.shape[1]
    if count != 2:
        raise ValueError(f"{name} wants (chosen, rejected) in every row, not {count} completions.")
    if recipe.needs_ref and ref_logps is None:
        raise ValueError(f"{name} compares the policy with a reference: pass ref_logps.")
    mask = groups.completion_mask
    ref_logps = ref_logps if recipe.needs_ref else None
    return types.PreferenceBatch(completion_mask=mask, pair_weights=weight.pair_mean(mask), ref_logps=ref_logps)


def reference(recipe: Any, batch: types.PreferenceBatch) -> Float[Array, "P K T"]:
    """The reference's log-probabilities, or a refusal."""
    if batch.ref_logps is None:
        raise ValueError(f"{type(recipe).__name__} compares the policy with a reference: give the batch ref_logps.")
    return batch.ref_logps


def split(values: Float[Array, "P K"]) -> Pair:
    """The columns of chosen and rejected; ValueError where there are not two."""
    if values.shape[1] != 2:
        raise ValueError(f"a pair is (chosen, rejected) on the second axis, [P, 2, T], not {values.shape[1]} of them.")
    return values[:, 0], values[:, 1]


def log_ratio_sums(recipe: Any, policy: types.TokenStats, batch: types.PreferenceBatch) -> Pair:
    """log pi(y) - log pi_ref(y) of chosen and rejected."""
    ratios = implicit_reward.log_ratio_sum(policy.logps, reference(recipe, batch), batch.completion_mask)
    return split(ratios)


def log_ratio_means(recipe: Any, policy: types.TokenStats, batch: types.PreferenceBatch) -> Pair:
    """The same per token."""
    ratios = implicit_reward.log_ratio_mean(policy.logps, reference(recipe, batch), batch.completion_mask)
    return split(ratios)


def logp_sums(logps: Float[Array, "P K T"], batch: types.PreferenceBatch) -> Pair:
    """log pi(y) of chosen and rejected."""
    sums = masked.total(logps, batch.completion_mask, axis=-1)
    return split(sums)


def logp_means(logps: Float[Array, "P K T"], batch: types.PreferenceBatch) -> Pair:
    """The same per token."""
    means = masked.mean(logps, batch.completion_mask, axis=-1)
    return split(means)


def report(chosen: Float[Array, "P"], rejected: Float[Array, "P"]) -> types.Metrics:
    """Rewards of chosen and rejected (as the loss reads them, beta included), their margin, whether it is positive."""
    return {
        "chosen_reward": chosen,
        "rejected_reward": rejected,
        "margin": chosen - rejected,
        "accuracy": (chosen > rejected).astype(jnp.float32),
    }
