"""What recipes share that regress on comparisons of a row's completions: the batch of pairs and the squared loss."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import types
from posttrain_jax.losses import contest, implicit_reward
from posttrain_jax.recipes.preference import pair


def batch(
    rollout: types.Rollout, targets: Float[Array, "P M"], known: Bool[Array, "P M"], ref_logps: Float[Array, "P G T"]
) -> types.PreferenceBatch:
    """Rows alike, and the pairs of a row that are known alike; completions without tokens are in none."""
    mask = rollout.groups.completion_mask
    weights = contest.pair_weights(known & contest.both(jnp.any(mask, axis=-1)))
    extra = {"targets": jnp.where(known, targets, 0), "weights": weights}
    return types.PreferenceBatch(mask, jnp.sum(weights, axis=1), ref_logps, extra=extra)


def loss(recipe: Any, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
    """sum over pairs of weight (a - a' - target)^2, a = log pi(y)/pi_ref(y), per token if the recipe says so."""
    read = implicit_reward.log_ratio_mean if recipe.per_token else implicit_reward.log_ratio_sum
    ratios = read(policy.logps, pair.reference(recipe, batch), batch.completion_mask)
    errors = contest.differences(ratios) - batch.extra["targets"]
    return jnp.sum(batch.extra["weights"] * errors**2), {"log_ratio": ratios, "entropy": policy.entropy}
