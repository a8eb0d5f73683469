"""Preferences read off the rewards of a group: which completions are compared, better ones first.

A pairing gives `(members [P, M, K], counted [P, M])`: M comparisons a row, each of K places of the group, and whether a
comparison counts. Completions without a reward (NaN) are in none that counts; rows are paired within themselves.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from posttrain_jax import pytree

Pairs = tuple[Int[Array, "P M K"], Bool[Array, "P M"]]
Pairing = Callable[[Float[Array, "P G"]], Pairs]


@pytree.struct
class ComparedBatch:
    """Comparisons among the completions of each row, and what the recipe says of them."""

    completion_mask: Bool[Array, "P G T"]
    """Of the completions that are in a comparison which counts."""
    members: Int[Array, "P M K"]
    """Places in the row."""
    counted: Bool[Array, "P M"]
    """Comparisons that count."""
    inner: PyTree
    """The recipe's batch, its rows cut into [P, M]."""


def best_and_worst(rewards: Float[Array, "P G"]) -> Pairs:
    """The completion of the highest reward against that of the lowest, where they differ: one pair a row.

    Source: Guo et al. 2024 ("Direct Language Model Alignment from Online AI Feedback"), arXiv:2402.04792, with G = 2.
    """
    known = ~jnp.isnan(rewards)
    high, low = jnp.where(known, rewards, -jnp.inf), jnp.where(known, rewards, jnp.inf)
    members = jnp.stack([jnp.argmax(high, axis=1), jnp.argmin(low, axis=1)], axis=1)
    return members[:, None], (jnp.max(high, axis=1) > jnp.min(low, axis=1))[:, None]


@dataclasses.dataclass(frozen=True)
class AllPairs:
    """Every pair of completions whose rewards differ by more than `gap`: G (G - 1) / 2 a row."""

    gap: float = 0.0
    """In the unit of rewards."""

    def __post_init__(self) -> None:
        if not self.gap >= 0:
            raise ValueError(f"gap={self.gap} would pair a completion with a better one as its loser: take 0 or more.")

    def __call__(self, rewards: Float[Array, "P G"]) -> Pairs:
        """See `Pairing`."""
        places = jnp.asarray(np.stack(np.triu_indices(rewards.shape[1], k=1), axis=1))
        values = rewards[:, places]
        swapped = values[..., :1] < values[..., 1:]
        members = jnp.where(swapped, places[None, :, ::-1], places[None])
        return members, jnp.abs(values[..., 0] - values[..., 1]) > self.gap


@dataclasses.dataclass(frozen=True)
class Across:
    """Every pair of a completion whose reward is above a threshold and one whose is not: right and wrong answers.

    Source: Pang et al. 2024 (iterative reasoning preference optimisation, arXiv:2404.19733), section 2.
    """

    above: float
    """Rewards of good completions lie above it."""

    def __call__(self, rewards: Float[Array, "P G"]) -> Pairs:
        """See `Pairing`."""
        members, _ = AllPairs()(rewards)
        better, worse = (jnp.take_along_axis(rewards, members[..., place], axis=1) for place in (0, 1))
        return members, (better > self.above) & (worse <= self.above)


@dataclasses.dataclass(frozen=True)
class GradeGap:
    """Pairs of a good completion and one that is clearly worse: more so where the good one was given.

    Source: Rosset et al. 2024 (DNO-Prct, arXiv:2404.03715), section 5.1: grades from 1 to 6.
    """

    lowest: float = 5.0
    """The least grade of the better one."""
    gap: float = 2.0
    """How much lower the other is, where the better one was given (a teacher's)."""
    own_gap: float = 1.0
    """The same, where the better one is the policy's own; given ones may be the worse of a pair."""

    def __call__(self, rewards: Float[Array, "P G"], *, given: Bool[Array, "P G"]) -> Pairs:
        """See `Pairing`; `given` marks completions that are not the policy's."""
        members, _ = AllPairs()(rewards)
        better, worse = (jnp.take_along_axis(rewards, members[..., place], axis=1) for place in (0, 1))
        apart = jnp.where(jnp.take_along_axis(given, members[..., 0], axis=1), self.gap, self.own_gap)
        return members, (better >= self.lowest) & (better - worse >= apart)


def alone(rewards: Float[Array, "P G"]) -> Pairs:
    """Every completion by itself, for recipes of single completions that are called desirable or not."""
    members = jnp.broadcast_to(jnp.arange(rewards.shape[1])[None, :, None], (*rewards.shape, 1))
    return members, ~jnp.isnan(rewards)


def above_mean(rewards: Float[Array, "P G"]) -> Float[Array, "P G"]:
    """1 where the reward is above the mean of its row, 0 where it is not, NaN where there is none."""
    above = (rewards > jnp.nanmean(rewards, axis=1, keepdims=True)).astype(rewards.dtype)
    return jnp.where(jnp.isnan(rewards), jnp.nan, above)


def differing(tokens: Int[Array, "Q K T"], lengths: Int[Array, "Q K"]) -> Float[Array, "Q K T"]:
    """1 on the tokens of each of K completions between where all begin and where all end alike, else 0.

    Of `data.phrases.mark`, which also finds what is shared in the middle, it is what needs no text.
    """
    places = jnp.arange(tokens.shape[2])[None, None]
    behind = jnp.take_along_axis(tokens, jnp.maximum(lengths[..., None] - 1 - places, 0), axis=2)
    shortest = jnp.min(lengths, axis=1)[:, None]

    def shared(x: Int[Array, "Q K T"]) -> Int[Array, "Q 1"]:
        alike = jnp.all(x == x[:, :1], axis=1) & (places[:, 0] < shortest)
        return jnp.sum(jnp.cumprod(alike.astype(jnp.int32), axis=1), axis=1, keepdims=True)

    before = shared(tokens)
    end = lengths - jnp.minimum(shared(behind), shortest - before)
    return ((places >= before[..., None]) & (places < end[..., None])).astype(jnp.float32)


def ranked(rewards: Float[Array, "P G"]) -> Pairs:
    """The whole group, best first: one ranking a row. Without a reward is last, equal rewards are by their place."""
    order = jnp.argsort(jnp.where(jnp.isnan(rewards), jnp.inf, -rewards), axis=1)
    known = ~jnp.isnan(rewards)
    high = jnp.max(jnp.where(known, rewards, -jnp.inf), axis=1)
    low = jnp.min(jnp.where(known, rewards, jnp.inf), axis=1)
    return order[:, None], (high > low)[:, None]
