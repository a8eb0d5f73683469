"""What recipes of reward models share: the scores of completions, taken where they end, and the report."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import outcome, weight
from posttrain_jax.recipes.preference import column
from posttrain_jax.recipes.preference import pair as pairing


def singles(recipe: Any, policy: scoring.Scores, mask: Bool[Array, "P G T"]) -> Float[Array, "P G"]:
    """The one number said of each completion.

    Raises:
        ValueError: the model says several.
    """
    count = policy.tokens.shape[-1]
    if count != 1:
        raise ValueError(f"{type(recipe).__name__} reads one score of a completion, and the head says {count}: size=1.")
    return outcome.at_end(policy.tokens, mask)[..., 0]


def pair(policy: scoring.Scores, batch: types.PreferenceBatch) -> tuple[Float[Array, "P d"], Float[Array, "P d"]]:
    """All that is said of chosen and of rejected."""
    scores = outcome.at_end(policy.tokens, batch.completion_mask)
    return scores[:, 0], scores[:, 1]


def graded(recipe: Any, groups: types.Groups, columns: Mapping[str, Array]) -> types.PreferenceBatch:
    """Pairs with the gap between their grades (column `scores`): every pair of known grades counts alike."""
    grades, batch = column.per_completion(recipe, columns, "scores", groups), pairing.credit(recipe, groups, None)
    gaps = grades[:, 0] - grades[:, 1]
    known = ~jnp.isnan(gaps)
    weights = weight.pair_mean(groups.completion_mask & known[:, None, None])
    return dataclasses.replace(batch, pair_weights=weights, extra={"grade_gaps": jnp.where(known, gaps, 0)})


def report(chosen: Float[Array, "P"], rejected: Float[Array, "P"]) -> types.Metrics:
    """Rewards of chosen and rejected, their margin, and whether it is positive; a tie is half right."""
    margin = chosen - rejected
    right = (jnp.sign(margin) + 1) / 2
    return {"chosen_reward": chosen, "rejected_reward": rejected, "margin": margin, "accuracy": right}


def check_temperature(temperature: float) -> None:
    """ValueError unless positive."""
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} divides the margins: choose it above 0.")


def mean_over_members(losses: Float[Array, "P d"]) -> Float[Array, "P"]:
    """Of a head with several numbers each is a reward model of its own, with a loss of its own."""
    return jnp.mean(losses, axis=-1)
