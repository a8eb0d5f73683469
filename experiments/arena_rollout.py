"""Rollouts of `policy_arena`: completions as a recipe wants them, and their rewards."""

import dataclasses
from typing import Any

import digit_policy
import digit_task
import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import arrangement, types


@dataclasses.dataclass(frozen=True)
class Entry:
    """A recipe and how it is trained."""

    recipe: Any
    updates: int = 4
    """On each rollout; 1 of a recipe that learns only from what the policy has just sampled."""
    selection: Any = None
    """What plans on the host which prompts are asked (`arena_selection`); None asks them in random order."""
    critic: int = 0
    """Rollouts before all others from which the critic alone learns (`ValuePretraining`)."""


def rollout(params, numbers, size, arranged, key):
    """Completions as the recipe wants them, given ones being right answers; and their rewards by name."""
    words, given = (
        digit_policy.sample(params, numbers, size, arranged.drawn, key),
        np.arange(size) >= size - arranged.given,
    )
    words = jnp.where(given[None, :, None], digit_task.answers(numbers)[:, None], words)
    groups = digit_task.groups_of(numbers, words)
    columns, steps = digit_task.judged(groups)
    shape, branches = groups.completions.shape, arranged.branches(size)
    return types.Rollout(
        groups,
        digit_policy.stats(params, groups),
        truncated=columns["ended"] == 0,
        segments=steps,
        greedy=jnp.broadcast_to(arranged.likeliest(size), shape[:2]),
        branches=jnp.broadcast_to(branches, (*shape[:2], branches.shape[1])),
        edges=jnp.broadcast_to(arranged.edges(shape[2]), shape),
        given=jnp.broadcast_to(given, shape[:2]),
    ), columns


def collect(recipe: Any, sizes: tuple[int, int], params, key):
    """A rollout of training prompts, its rewards, and the tokens that were drawn for it."""
    keys, (rows, size) = jax.random.split(key), sizes
    asked = jax.random.choice(keys[0], jnp.asarray(digit_task.TRAIN), (rows,), False)
    found, columns = rollout(params, asked, size, arrangement.of(recipe), keys[1])
    assert found.given is not None
    return found, columns, jnp.sum(jnp.where(found.given, 0, found.groups.completion_lengths))
