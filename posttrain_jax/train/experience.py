"""What a step learns from: prompts -> rollout -> rewards."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, Float, Key, PyTree

from posttrain_jax import types
from posttrain_jax.data import iterate
from posttrain_jax.models import actor_critic, tokenizer
from posttrain_jax.rewards import pool, report
from posttrain_jax.rollout import generate
from posttrain_jax.train import capacity, checks, metrics, rows, summary, text


class Rewards(NamedTuple):
    """Of a rollout, on the devices; NaN where there is none."""

    total: Float[Array, "P G"]
    columns: dict[str, Float[Array, "P ..."]]
    """Each reward by itself [P, G], and the columns of the data."""


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
        sampler: generate.Generate,
        stop_ids: Sequence[int],
        *,
        words: tokenizer.Tokenizer,
        rewards: pool.RewardPool,
        data: iterate.Data,
        recipe: object,
    ):
        """Args: `rollout.generate.make_generate`, the ids that end a completion, and what `online.Online` holds."""
        self._model, self._words, self._rewards, self._data = model, words, rewards, data
        self._stop_ids, self._notices, self._recipe = stop_ids, summary.Notices(), recipe
        self._generate = capacity.checked("sampling", sampler)
        self._summary = jax.jit(summary.of_rollout, out_shardings=NamedSharding(model.mesh, Spec()))

    def collect(self, params: PyTree, key: Key[Array, ""], clock: metrics.Clock) -> Experience:
        """What the next prompts of the data give.

        Args:
            params: all of the policy's.
            key: of the step.
            clock: counts the seconds of both phases.
        """
        with clock.phase("rollout"):
            prompts = next(self._data)
            checks.numbered(self._recipe, prompts.group_ids)
            asked = map(self._put, (prompts.prompts, prompts.prompt_lengths, prompts.group_ids))
            rollout = self._generate(params, *asked, key)
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
        rewards, columns = self._put(scores.rewards), self._put(scores.columns)
        numbers, by_column = self._summary(rollout, rewards, columns)
        values = {name: float(x) for name, x in numbers.items()}
        self._notices.constant(scores.names, np.asarray(by_column.constant))
        named = zip(scores.names, np.asarray(by_column.means), strict=True)
        values |= {f"reward/{name}": float(x) for name, x in named if len(scores.names) > 1}
        return Rewards(rewards, {name: columns[..., index] for index, name in enumerate(scores.names)}), values
