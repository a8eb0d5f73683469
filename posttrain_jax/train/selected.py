"""Experience through a selection: it is asked what to ask, and what it remembers is saved with the data."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from posttrain_jax.data import iterate
from posttrain_jax.rewards import report
from posttrain_jax.rollout import selection
from posttrain_jax.train import experience, metrics


def check(chosen: selection.Selection | None, others: Sequence[object]) -> None:
    """Refuse a selection beside a judge or players, whose rewards and whose completions it would not see."""
    if chosen is not None and any(other is not None for other in others):
        raise ValueError("a selection sees neither a judge's rewards nor players: give one of them.")


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
            ValueError: several processes, or data whose rows cannot be chosen.
        """
        if jax.process_count() > 1:
            raise ValueError(
                f"a selection looks at the rows of all processes, and these are {jax.process_count()}: run it in one"
                " process, or without a selection."
            )
        if not isinstance(data, iterate.Choosable):
            raise ValueError(f"a selection asks for single rows of {type(data).__name__}: use `iterate.Batches`.")
        self._collector, self._selection, self._data, self._group_size = collector, chosen, data, group_size
        self._memory = chosen.init_memory(len(data))

    def __next__(self) -> Any:
        """The next batch that nobody selected, which the checks before a run look at."""
        return next(self._data)

    def state(self) -> dict[str, Any]:
        """Position of the data and memory of the selection, as JSON."""
        return {"data": self._data.state(), "memory": packed(self._memory)}

    def restore(self, state: dict[str, Any], /) -> None:
        """Go on where `state` was taken."""
        self._data.restore(state["data"])
        self._memory = unpacked(state["memory"])

    def collect(
        self, params: Mapping[str, PyTree], key: Key[Array, ""], step: int, clock: metrics.Clock
    ) -> experience.Experience:
        """The batch that the selection collects; arguments and errors are those of `experience.Collector.collect`."""
        ask = _Ask(self._collector, self._data, self._group_size, params, key, step, clock)
        found, memory = self._selection.collect(self._memory, ask)
        rollout = jax.tree.map(self._collector.put, selection.apart(found.rollout))
        told = report.total([one.scores.report for one in ask.answers])
        last = ask.answers[-1]
        columns = np.stack([found.columns[name] for name in last.scores.names], axis=-1)
        scores = report.Scores(found.rewards, columns, last.scores.names, told, found.wins)
        got = self._collector.experience(rollout, scores, found.beside, last)
        self._memory = memory
        rewards = np.stack([one.scores.rewards for one in ask.answers])
        asked = {"rounds": float(ask.round), "stale_rows": float(np.mean(found.steps < step))}
        return got._replace(values=got.values | asked | {"reward_of_all": float(np.nanmean(rewards))})


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
        # completions hang on key and prompt alone: a prompt asked again in a step must not answer the same
        again = jax.random.fold_in(jax.random.split(self.key)[1], self.round)
        key = self.key if self.round == 0 else again
        answer = self.collector.sample(self.data.at(places), self.params, key, self.clock)
        self.answers.append(answer)
        scores = answer.scores
        columns = {name: scores.columns[..., index] for index, name in enumerate(scores.names)}
        steps = np.full(len(places), self.step, np.int32)
        return selection.Found(
            answer.here, scores.rewards, columns, answer.beside, scores.wins, np.asarray(places, np.int64), steps
        )


def packed(memory: Any) -> Any:
    """Memory as JSON, bit for bit: arrays as text."""
    if isinstance(memory, dict):
        return {name: packed(one) for name, one in memory.items()}
    if isinstance(memory, np.ndarray):
        array = np.ascontiguousarray(memory)
        return {"array": base64.b64encode(array.tobytes()).decode(), "dtype": array.dtype.name, "shape": memory.shape}
    return memory


def unpacked(saved: Any) -> Any:
    """What `packed` was given."""
    if isinstance(saved, dict) and saved.keys() == {"array", "dtype", "shape"}:
        array = np.frombuffer(base64.b64decode(saved["array"]), saved["dtype"])
        return array.reshape(saved["shape"]).copy()
    return {name: unpacked(one) for name, one in saved.items()} if isinstance(saved, dict) else saved
