"""How the completions of a row fare against each other: probabilities that one beats another, and what follows.

`wins[p, i, j]` is the probability that completion i beats j, NaN where that is not known, 1/2 for j = i. Comparisons
are within rows.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked, types

Wins = Float[Array, "P G G"]
Preference = Callable[[Float[Array, "P G"], Mapping[str, Array]], Wins]
"""From rewards and columns to comparisons: `judged`, `hard` or `BradleyTerry`."""


def judged(rewards: Float[Array, "P G"], columns: Mapping[str, Array]) -> Wins:
    """What a reward that compares completions found (`rewards.judge.Pairwise`, the column `wins`)."""
    if "wins" not in columns:
        raise ValueError(
            "no reward compares completions two by two: give a judge.Pairwise, or take preferences from rewards"
            " (preference=contest.BradleyTerry())."
        )
    return _among(columns["wins"], rewards)


def hard(rewards: Float[Array, "P G"], columns: Mapping[str, Array]) -> Wins:
    """The higher reward wins: 1, 1/2 at equal rewards, 0."""
    mine, other = rewards[:, :, None], rewards[:, None]
    return _among(jnp.where(mine > other, 1.0, jnp.where(mine == other, 0.5, 0.0)), rewards)


@dataclasses.dataclass(frozen=True)
class BradleyTerry:
    """sigmoid((r_i - r_j) / scale): a player of the strength that the reward says."""

    scale: float = 1.0
    """In units of the reward."""

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"scale={self.scale} turns preferences round or makes them hard: choose it above 0.")

    def __call__(self, rewards: Float[Array, "P G"], columns: Mapping[str, Array]) -> Wins:
        """See `Preference`."""
        margins = (rewards[:, :, None] - rewards[:, None]) / self.scale
        return _among(1 / (1 + jnp.exp(-margins)), rewards)


def opponents(rollout: types.Rollout, columns: Mapping[str, Array]) -> Bool[Array, "P G"]:
    """The opponent's completions, which the column `opponent` marks; ValueError where there is none."""
    if "opponent" not in columns:
        raise ValueError("no completion is an opponent's: give the loop players=player.Players(...).")
    return (columns["opponent"] > 0) & jnp.any(rollout.groups.completion_mask, axis=-1)


def own(rollout: types.Rollout, opponents: Bool[Array, "P G"]) -> types.Rollout:
    """The rollout with the opponent's completions taken out of what is learned from: their masks are empty."""
    groups = rollout.groups
    kept = groups.completion_mask & ~opponents[..., None]
    return dataclasses.replace(rollout, groups=dataclasses.replace(groups, completion_mask=kept))


def shares(wins: Wins, rivals: Bool[Array, "P G"] | None = None) -> Float[Array, "P G"]:
    """The mean probability of beating the others of the row, or of those that are `rivals`; NaN without any.

    Over a whole row without gaps they average 1/2.

    Source: Swamy et al. 2024 (SPO, arXiv:2401.04056).
    """
    known = _known(wins) & ~jnp.eye(wins.shape[1], dtype=bool)[None]
    known = known if rivals is None else known & rivals[:, None]
    return jnp.where(jnp.any(known, axis=2), masked.mean(wins, known, axis=2), jnp.nan)


def mean_log_odds(wins: Wins, *, limit: float = 1e-4) -> Float[Array, "P G"]:
    """The mean of log(w / (1 - w)) over the row, oneself (0) included, in nats; NaN where nothing is known.

    Args:
        wins: probabilities.
        limit: they are held this far from 0 and 1.

    Source: Zhang et al. 2024 (GPO, arXiv:2410.02197), eq. 5.2.
    """
    held = jnp.clip(wins, limit, 1 - limit)
    known = _known(wins)
    known &= jnp.any(known & ~jnp.eye(wins.shape[1], dtype=bool)[None], axis=2, keepdims=True)
    odds = masked.mean(jnp.log(held) - jnp.log1p(-held), known, axis=2)
    return jnp.where(jnp.any(known, axis=2), odds, jnp.nan)


def pairs(group_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The places i < j of every two of a row, in order: G (G - 1) / 2 of each."""
    return np.triu_indices(group_size, k=1)


def differences(values: Float[Array, "P G"]) -> Float[Array, "P M"]:
    """v_i - v_j of `pairs`."""
    first, second = pairs(values.shape[1])
    return values[:, first] - values[:, second]


def both(counted: Bool[Array, "P G"]) -> Bool[Array, "P M"]:
    """Whether both of `pairs` count."""
    first, second = pairs(counted.shape[1])
    return counted[:, first] & counted[:, second]


def pair_weights(counted: Bool[Array, "P M"]) -> Float[Array, "P M"]:
    """Every row with a pair alike, and its pairs alike: sums to 1 over the batch."""
    number = jnp.sum(counted.astype(jnp.float32), axis=1, keepdims=True)
    rows = jnp.maximum(jnp.sum((number > 0).astype(jnp.float32)), 1)
    return counted.astype(jnp.float32) / (jnp.maximum(number, 1) * rows)


def _known(wins: Wins) -> Bool[Array, "P G G"]:
    return ~jnp.isnan(wins)


def _among(wins: Wins, rewards: Float[Array, "P G"]) -> Wins:
    """Of completions with a reward alone; 1/2 for each against itself."""
    scored = ~jnp.isnan(rewards)
    wins = jnp.where(jnp.eye(wins.shape[1], dtype=bool)[None], 0.5, wins)
    return jnp.where(scored[:, :, None] & scored[:, None], wins, jnp.nan)
