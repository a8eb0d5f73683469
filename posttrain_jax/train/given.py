"""Completions that the data give, as further ones of their prompt's group: reference answers, demonstrations, pairs.

A recipe asks for them in its `arrangement`, and the data hold their tokens (`data.prompts.give`). They stand behind the
policy's own, and what the sampler would say of them is computed at once: a given completion has log-probabilities under
the policy of the rollout like any other. Where several rows hold one prompt, the first of them has its given ones.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from posttrain_jax import arrangement, types
from posttrain_jax.data import prompts
from posttrain_jax.models import actor_critic, platform
from posttrain_jax.rewards import report
from posttrain_jax.rollout import generate, sample

Join = Callable[[PyTree, types.Rollout, Float[Array, "P K W"]], types.Rollout]
"""`join(params, rollout, ids)`: the rollout with the completions of the column behind it."""


def check(recipe: Any, columns: Mapping[str, np.ndarray], sampling: sample.Sampling) -> None:
    """Refuse data that lack what the recipe wants, and data that give what it would leave out.

    Raises:
        ValueError: the column is missing, is not wanted, has another number of completions or room for longer ones than
            are sampled; or sampling is truncated, whose support the given tokens may lie outside of.
    """
    name, wanted = type(recipe).__name__, arrangement.of(recipe).given
    values = columns.get(prompts.GIVEN)
    if values is None:
        if wanted:
            raise ValueError(
                f"{name} wants {wanted} given completion(s) in each group and the data have no column"
                f" {prompts.GIVEN!r}: add it with data.prompts.give."
            )
        return
    if not wanted:
        raise ValueError(
            f"the data give completions and {name} draws all of its own: leave the column {prompts.GIVEN!r} out."
        )
    count, width = values.shape[1:]
    if count != wanted:
        raise ValueError(f"{name} wants {wanted} given completion(s) in each group and the data give {count}.")
    if width > sampling.max_new_tokens:
        raise ValueError(
            f"given completions have up to {width} tokens and a group has room for"
            f" max_new_tokens={sampling.max_new_tokens}: give both one number."
        )
    if sampling.top_k is not None:
        raise ValueError(f"top_k={sampling.top_k} may rule given tokens out: sample from all tokens.")


def make_join(model: actor_critic.Policy, sampling: sample.Sampling) -> Join:
    """`Join`, compiled: one teacher-forced pass, at the sampling temperature."""

    def join(params: PyTree, rollout: types.Rollout, ids: Float[Array, "P K W"]) -> types.Rollout:
        groups = _groups(rollout.groups, ids, sampling.pad_id)
        stats = model.token_stats(params, groups, temperature=sampling.temperature)
        none = jnp.zeros(groups.completion_lengths.shape, bool)
        told = types.Rollout(groups, types.TokenStats(stats.logps, stats.entropy), truncated=none)
        marks = jnp.concatenate([jnp.zeros_like(rollout.truncated), ~none], axis=1)
        greedy = None if rollout.greedy is None else jnp.concatenate([rollout.greedy, none], axis=1)
        return dataclasses.replace(generate.beside(rollout, told), given=marks, greedy=greedy)

    return platform.jit(model.mesh, out_shardings=model.row_sharding)(join)


def unrewarded(rollout: Any, rewarded: bool) -> Bool[Any, "P G"]:
    """Given completions that have no reward: those that are empty, or all."""
    return rollout.given & ((rollout.groups.completion_lengths == 0) | (not rewarded))


def scored(scores: report.Scores, here: types.Rollout, rewarded: bool) -> report.Scores:
    """Scores of whole groups, from those of the completions that were asked about: NaN of the others."""
    if here.given is None:
        return scores
    missing = here.given.shape[1] - scores.rewards.shape[1]
    nothing = np.asarray(unrewarded(here, rewarded))

    def widened(x: np.ndarray, axes: tuple[int, ...], blank: np.ndarray) -> np.ndarray:
        room = [(0, missing if axis in axes else 0) for axis in range(x.ndim)]
        return np.where(blank, np.float32(np.nan), np.pad(x, room, constant_values=np.nan))

    wins = scores.wins
    if wins is not None:
        wins = widened(wins, (1, 2), nothing[:, :, None] | nothing[:, None])
    columns = widened(scores.columns, (1,), nothing[..., None])
    failed = np.pad(scores.failed, ((0, 0), (0, missing)))
    rewards = widened(scores.rewards, (1,), nothing)
    return dataclasses.replace(scores, rewards=rewards, columns=columns, failed=failed, wins=wins)


def _groups(own: types.Groups, ids: Float[Array, "P K W"], pad_id: int) -> types.Groups:
    """The completions of the column after the prompts, as long as the others; filling rows have none."""
    length = own.completions.shape[2]
    ids = jnp.pad(ids, ((0, 0), (0, 0), (0, length - ids.shape[2])), constant_values=-1)
    same = own.group_ids[:, None] == own.group_ids[None, :]
    first = jnp.argmax(same, axis=1) == jnp.arange(len(own.group_ids))
    mask = (ids >= 0) & (first & (own.group_ids >= 0))[:, None, None]
    return dataclasses.replace(
        own,
        completions=jnp.where(mask, ids.astype(own.completions.dtype), pad_id),
        completion_lengths=jnp.sum(mask, axis=-1, dtype=own.completion_lengths.dtype),
        completion_mask=mask,
    )
