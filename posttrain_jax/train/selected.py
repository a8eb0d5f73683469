"""Experience through a selection: it is asked what to ask, and what it remembers is saved with the data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from posttrain_jax import types
from posttrain_jax.data import iterate
from posttrain_jax.rewards import report
from posttrain_jax.rollout import selection
from posttrain_jax.train import experience, held, metrics, rows


def check(chosen: selection.Selection | None, recipe: types.Loss, others: Sequence[object]) -> None:
    """Refuse a selection beside a judge or players, whose rewards and whose completions it would not see.

    And one that replays, for a recipe that would take old completions for the policy's own of today.
    """
    if chosen is not None and any(other is not None for other in others):
        raise ValueError("a selection sees neither a judge's rewards nor players: give one of them.")
    corrected = any(isinstance(one, held.Correcting) and one.corrects_sampler for one in held.within(recipe))
    if chosen is not None and selection.replays(chosen) and not corrected:
        raise ValueError(
            f"{chosen!r} replays completions of earlier steps, which {type(recipe).__name__} would take for the"
            " policy's own of today: hold it in one that corrects for the distance, TIS, MIS or OPSM."
        )


def start(
    collector: experience.Collector, chosen: selection.Selection | None, data: iterate.Data, group_size: int
) -> "tuple[iterate.Data, experience.Collector | Selected]":
    """What the loop saves as its data, and what collects: themselves where nothing is chosen."""
    if chosen is None:
        return data, collector
    both = Selected(collector, chosen, data, group_size)
    return both, both


class Selected:
    """Collects as `experience.Collector` does, and is the data of the loop: position and memory are one state."""

    def __init__(
        self, collector: experience.Collector, chosen: selection.Selection, data: iterate.Data, group_size: int
    ):
        """Before the first step; `group_size` is of what the collector samples.

        Raises:
            ValueError: data whose rows cannot be chosen.
        """
        if not isinstance(data, iterate.Choosable):
            raise ValueError(f"a selection asks for single rows of {type(data).__name__}: use `iterate.Batches`.")
        self._collector, self._selection, self._data, self._group_size = collector, chosen, data, group_size
        self._memory = chosen.init_memory(len(data))

    def __next__(self) -> Any:
        """The next batch that nobody selected, which the checks before a run look at."""
        return next(self._data)

    def state(self) -> dict[str, Any]:
        """Position of the data and memory of the selection, which is replaced and never changed."""
        return {"data": self._data.state(), "memory": self._memory}

    def restore(self, state: dict[str, Any], /) -> None:
        """Go on where `state` was taken."""
        self._data.restore(state["data"])
        self._memory = state["memory"]

    def collect(
        self, params: Mapping[str, PyTree], key: Key[Array, ""], step: int, clock: metrics.Clock
    ) -> experience.Experience:
        """The batch that the selection collects; arguments and errors are those of `experience.Collector.collect`."""
        ask = _Ask(self._collector, self._data, self._group_size, params, key, step, clock)
        chosen, memory = self._selection.collect(self._memory, ask)
        chosen = dataclasses.replace(chosen, rollout=selection.apart(chosen.rollout))
        # every process has seen the rows of all, chosen the same, and learns from its own share of the choice
        found, last = chosen.take(iterate.share(self._data.batch_size)), ask.answers[-1]
        rollout = jax.tree.map(self._collector.put, found.rollout)
        told = report.total([one.scores.report for one in ask.answers])
        columns = np.stack([found.columns[name] for name in last.scores.names], axis=-1)
        failed = np.isnan(found.rewards)
        scores = report.Scores(found.rewards, columns, last.scores.names, told, failed, found.wins)
        got = self._collector.experience(rollout, scores, found.beside, last)
        self._memory = memory
        rewards = np.concatenate([one.rewards for one in ask.found])
        known = ~np.isnan(rewards)
        asked = {"rounds": float(ask.round), "stale_rows": float(np.mean(chosen.steps < step))}
        asked["reward_of_all"] = float(np.sum(rewards, where=known) / max(np.sum(known), 1))
        return got._replace(values=got.values | asked)


@dataclasses.dataclass
class _Ask:
    """One step's `selection.Ask`."""

    collector: experience.Collector
    data: iterate.Choosable
    group_size: int
    params: Mapping[str, PyTree]
    key: Key[Array, ""]
    step: int
    clock: metrics.Clock
    answers: list[experience.Sampled] = dataclasses.field(default_factory=list)
    """With this process's rows."""
    found: list[selection.Found] = dataclasses.field(default_factory=list)
    """With the rows of all."""

    @property
    def rows(self) -> int:
        return self.data.batch_size

    @property
    def round(self) -> int:
        return len(self.answers)

    def fresh(self, count: int) -> Int[np.ndarray, "{count}"]:
        return self.data.places(count)

    def __call__(self, places: Int[np.ndarray, "P"]) -> selection.Found:
        # sampling compiled for one number of rows
        if len(places) != self.rows:
            raise ValueError(f"a selection asks {len(places)} prompts at once: ask {self.rows}, as a batch has.")
        # completions depend on key and prompt alone: a prompt asked again in a step must not answer the same
        again = jax.random.fold_in(jax.random.split(self.key)[1], self.round)
        key = self.key if self.round == 0 else again
        answer = self.collector.sample(self.data.at(places), self.params, key, self.clock)
        self.answers.append(answer)
        scores = answer.scores
        columns = {name: scores.columns[..., index] for index, name in enumerate(scores.names)}
        own = answer.here, scores.rewards, columns, answer.beside, scores.wins
        rollout, rewards, columns, beside, wins = rows.gathered(own)
        steps = np.full(len(places), self.step, np.int32)
        found = selection.Found(rollout, rewards, columns, beside, wins, np.asarray(places, np.int64), steps)
        self.found.append(found)
        return found
