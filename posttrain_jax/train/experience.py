"""What a step learns from: prompts -> rollout -> rewards."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float, Key, PyTree

from posttrain_jax import types
from posttrain_jax.data import iterate
from posttrain_jax.models import actor_critic, tokenizer
from posttrain_jax.rewards import pool, report
from posttrain_jax.train import capacity, checks, judging, metrics, player, rows, summary, text

JUDGE = "judge"
"""The column of the reward model."""


class Rewards(NamedTuple):
    """Of a rollout, on the devices; NaN where there is none."""

    total: Float[Array, "P G"]
    columns: dict[str, Array]
    """Each reward by itself [P, G], their comparisons, whose each completion is, and the columns of the data."""


class Experience(NamedTuple):
    """A rollout on the devices, its rewards, and what is told of them."""

    rollout: types.Rollout
    rewards: Rewards
    values: dict[str, float]
    """Global numbers."""
    report: report.ScoreReport
    """Of this process's scoring."""
    shown: list[metrics.Shown]
    """A few of this process's samples."""


class Collector:
    """Samples and scores; its two functions are compiled."""

    def __init__(
        self,
        model: actor_critic.Policy,
        sampler: player.Sampler,
        stop_ids: Sequence[int],
        *,
        words: tokenizer.Tokenizer,
        rewards: pool.RewardPool,
        data: iterate.Data,
        recipe: object,
        judge: judging.Judge | None,
    ):
        """Args: who draws, the ids that end a completion, and what `online.Online` holds."""
        self._judge = judge
        self._ask = None if judge is None else capacity.checked("the reward model", judging.make_score(judge))
        self._model, self._words, self._rewards, self._data = model, words, rewards, data
        self._stop_ids, self._notices, self._recipe = stop_ids, summary.Notices(), recipe
        self._sampler = sampler
        self._summary = jax.jit(summary.of_rollout, out_shardings=NamedSharding(model.mesh, Spec()))

    def collect(self, params: Mapping[str, PyTree], key: Key[Array, ""], clock: metrics.Clock) -> Experience:
        """What the next prompts of the data give.

        Args:
            params: by role, as the sampler's `params` gives them.
            key: of the step.
            clock: counts the seconds of both phases.
        """
        with clock.phase("rollout"):
            prompts = next(self._data)
            checks.numbered(self._recipe, prompts.group_ids)
            asked = prompts.prompts, prompts.prompt_lengths, prompts.group_ids
            tokens, lengths, ids = (self._put(x) for x in asked)
            rollout = self._sampler(params, tokens, lengths, ids, key)
            here = rows.to_host(rollout)
        with clock.phase("score"):
            samples = text.decode(prompts, here, self._words, self._stop_ids)
            scores = self._rewards.score(samples)
            rewards, values = self._told(rollout, scores)
            rewards = rewards._replace(columns=self._beside(rewards.columns, prompts.columns))
        return Experience(rollout, rewards, values, scores.report, text.shown(samples, scores))

    def _put(self, x: np.ndarray) -> Array:
        return rows.to_devices(self._model.row_sharding, x)

    def _beside(self, rewards: dict[str, Array], columns: Mapping[str, np.ndarray]) -> dict[str, Array]:
        if both := set(rewards) & set(columns):
            raise ValueError(f"{sorted(both)} name both a reward and a column of the data: rename one.")
        return rewards | {name: self._put(x) for name, x in columns.items()}

    def _told(self, rollout: types.Rollout, scores: report.Scores) -> tuple[Rewards, dict[str, float]]:
        """The rewards on the devices, and their global numbers."""
        self._notices.failed(scores.report)
        rewards, columns, names = self._put(scores.rewards), self._put(scores.columns), scores.names
        if self._judge is not None and self._ask is not None:
            judged = self._ask(self._judge.members, rollout.groups)
            rewards, columns = _join(rewards, columns, judged, jnp.float32(self._judge.weight))
            names = (*names, JUDGE)
        numbers, by_column = self._summary(rollout, rewards, columns)
        values = {name: float(x) for name, x in numbers.items()}
        self._notices.constant(names, np.asarray(by_column.constant))
        named = zip(names, np.asarray(by_column.means), strict=True)
        values |= {f"reward/{name}": float(x) for name, x in named if len(names) > 1}
        by_name = {name: columns[..., index] for index, name in enumerate(names)}
        wins = {} if scores.wins is None else {"wins": self._put(scores.wins)}
        return Rewards(rewards, by_name | wins | self._sampler.column(rollout)), values


@jax.jit
def _join(
    rewards: Float[Array, "P G"], columns: Float[Array, "P G K"], judged: Float[Array, "P G"], weight: Float[Array, ""]
) -> tuple[Float[Array, "P G"], Float[Array, "P G _"]]:
    """The reward model's as one more column, and added to the sum."""
    return rewards + weight * judged, jnp.concatenate([columns, judged[..., None]], axis=-1)
