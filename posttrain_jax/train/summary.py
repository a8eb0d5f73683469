"""Numbers that describe a rollout and its scoring."""

import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.rewards import report
from posttrain_jax.train import process


def of_rollout(
    rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Float[Array, "P G K"]
) -> tuple[dict[str, Float[Array, ""]], Float[Array, "K"]]:
    """Global numbers of a rollout: means over scored completions, and each reward's mean where it applied."""
    scored = ~jnp.isnan(rewards)
    spread = jnp.max(jnp.where(scored, rewards, -jnp.inf), axis=1) > jnp.min(
        jnp.where(scored, rewards, jnp.inf), axis=1
    )
    numbers = {
        "reward": masked.mean(rewards, scored),
        "reward_std": jnp.sqrt(masked.variance(rewards, scored)),
        "unscored": jnp.mean((~scored).astype(jnp.float32)),
        "equal_groups": jnp.mean((~spread).astype(jnp.float32)),
        "truncated": jnp.mean(rollout.truncated.astype(jnp.float32)),
        "completion_length": jnp.mean(rollout.groups.completion_lengths.astype(jnp.float32)),
    }
    return numbers, masked.mean(columns, ~jnp.isnan(columns), axis=(0, 1))


def failures(told: report.ScoreReport) -> dict[str, float]:
    """Reward calls that gave no score, of all processes, by kind; nothing where all did."""
    kinds = {"timeouts": told.timeouts, "errors": told.errors, "crashes": told.crashes, "invalid": told.invalid}
    counts = np.sum(multihost_utils.process_allgather(np.asarray(list(kinds.values()), np.int32)), axis=0)
    return {f"failed/{name}": float(count) for name, count in zip(kinds, counts, strict=True) if count}


def failed(told: report.ScoreReport) -> str:
    """What went wrong in this process's scoring, in one sentence that quotes the first failure."""
    first = (told.first_error or "").strip().split("\n")[-1]
    return (
        f"{told.failures} of {told.samples} completions have no reward (the first: {first}): such ones are left out of"
        " their groups, and counted as failed/... in the metrics of every step."
    )


def unscored(told: report.ScoreReport) -> str:
    """Why no completion has a score, in one sentence that quotes the first failure; all processes must ask."""
    first = process.first_text((told.first_error or "").strip().split("\n")[-1])
    return f"no completion was scored ({first or 'no reward applied'})."
