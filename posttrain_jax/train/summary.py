"""Numbers that describe a rollout and its scoring."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked, types
from posttrain_jax.rewards import report
from posttrain_jax.train import process


class OfColumns(NamedTuple):
    """Global numbers of each reward by itself."""

    means: Float[Array, "K"]
    """Where it applied."""
    constant: Bool[Array, "K"]
    """True where completions of a prompt could have had different scores, and none had."""
    silent: Bool[Array, "K"]
    """True where it applied to no completion."""


def of_rollout(
    rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Float[Array, "P G K"]
) -> tuple[dict[str, Float[Array, ""]], OfColumns]:
    """Global numbers of a rollout: rewards of scored samples, without greedy or given ones, and those of each reward.

    What the policy drew is counted by itself; the rewards of given completions are a number of their own. Greedy ones
    are compared with: they count where it is asked whether completions are told apart.
    """
    scored, applied = ~jnp.isnan(rewards), ~jnp.isnan(columns)
    drawn = jnp.ones_like(scored) if rollout.given is None else ~rollout.given
    sampled = scored & (drawn if rollout.greedy is None else drawn & ~rollout.greedy)
    numbers = {
        "reward": masked.mean(rewards, sampled),
        "reward_std": jnp.sqrt(masked.variance(rewards, sampled)),
        "unscored": masked.mean((~scored).astype(jnp.float32), drawn),
        "equal_groups": jnp.mean((~_varies(rewards)).astype(jnp.float32)),
        "truncated": masked.mean(rollout.truncated.astype(jnp.float32), drawn),
        "completion_length": masked.mean(rollout.groups.completion_lengths.astype(jnp.float32), drawn),
    }
    if rollout.counts:
        numbers |= {name: masked.mean(count, drawn) for name, count in rollout.counts.items()}
        own = jnp.sum(rollout.groups.completion_mask, axis=-1).astype(jnp.float32)
        numbers["own_tokens"] = masked.mean(own, drawn)
    if rollout.given is not None:
        numbers["reward_given"] = masked.mean(rewards, scored & rollout.given)
    compared = jnp.any(jnp.sum(applied, axis=1) > 1, axis=0)
    constant = compared & ~jnp.any(_varies(columns), axis=0)
    own = drawn if rollout.greedy is None else drawn & ~rollout.greedy
    means, silent = masked.mean(columns, applied & own[..., None], axis=(0, 1)), ~jnp.any(applied, axis=(0, 1))
    return numbers, OfColumns(means, constant, silent)


def _varies(values: Float[Array, "P G *K"]) -> Bool[Array, "P *K"]:
    """Whether a group holds two different scores."""
    known = ~jnp.isnan(values)
    return jnp.max(jnp.where(known, values, -jnp.inf), axis=1) > jnp.min(jnp.where(known, values, jnp.inf), axis=1)


def failures(told: report.ScoreReport) -> dict[str, float]:
    """Reward calls that gave no score, of all processes, by kind; nothing where all did."""
    kinds = {"timeouts": told.timeouts, "errors": told.errors, "crashes": told.crashes, "invalid": told.invalid}
    counts = np.sum(multihost_utils.process_allgather(np.asarray(list(kinds.values()), np.int32)), axis=0)
    return {f"failed/{name}": float(count) for name, count in zip(kinds, counts, strict=True) if count}


class Notices:
    """What is said of the rewards to the person who started the run, once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def failed(self, told: report.ScoreReport) -> None:
        """What went wrong in this process's scoring, in one sentence that quotes the first failure."""
        if told.failures and "failures" not in self._said:
            self._said.add("failures")
            first = (told.first_error or "").strip().split("\n")[-1]
            process.tell(
                f"{told.failures} of {told.samples} completions have no reward (the first: {first}): such ones are left"
                " out of their groups, and counted as failed/... in the metrics of every step."
            )

    def columns(self, names: Sequence[str], found: OfColumns) -> None:
        """Which rewards told no two completions of a prompt apart, or applied to none, in a sentence for each kind."""
        if new := self._unsaid("constant", names, np.asarray(found.constant)):
            process.tell(
                f"reward {new} gave all completions of a prompt the same score, with every prompt of this step: what"
                " compares completions of a prompt learns nothing from it."
            )
        if new := self._unsaid("silent", names, np.asarray(found.silent)):
            process.tell(
                f"reward {new} applied to no completion of this step, so that the others count alone: see that it reads"
                " the field of the data that it is meant to read, and what is there."
            )

    def _unsaid(self, kind: str, names: Sequence[str], flags: Bool[np.ndarray, "K"]) -> str:
        """Those of which this was not said before; it is now."""
        new = [name for name, flag in zip(names, flags, strict=True) if flag and f"{kind} {name}" not in self._said]
        self._said.update(f"{kind} {name}" for name in new)
        return ", ".join(map(repr, new))


def unscored(told: report.ScoreReport) -> str:
    """Why no completion has a score, in one sentence that quotes the first failure; all processes must ask."""
    first = process.first_text((told.first_error or "").strip().split("\n")[-1])
    return f"no completion was scored ({first or 'no reward applied'})."
