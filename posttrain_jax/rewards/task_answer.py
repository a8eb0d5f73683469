"""Score of a `reasoning_gym` task: the task's own verifier, which may accept answers other than the stored one."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import reasoning_gym
from reasoning_gym.dataset import ProceduralDataset

from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples


@dataclasses.dataclass(frozen=True)
class TaskAnswer:
    """`score_answer` of the named task, in [0, 1]. The example is the task's entry (question, answer, metadata).

    Most tasks give 1 for a right answer and partial credit for some wrong ones: by default the stored answer inside a
    longer one scores len(stored) / len(given). `FullMarks` cuts that credit to 0.
    """

    name: str
    """As `reasoning_gym.create_dataset` knows it, e.g. "basic_arithmetic"."""
    extract: extracts.Extract
    """From the completion to the answer; None scores as the task scores no answer."""
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The task's configuration, as it was generated with."""

    @functools.cached_property
    def task(self) -> ProceduralDataset:
        """Built at first use, in the worker."""
        return reasoning_gym.create_dataset(self.name, **self.config)

    def __call__(self, sample: samples.Sample) -> float:
        """What the task says of the extracted answer."""
        return float(self.task.score_answer(self.extract(sample.completion), dict(sample.example)))


@dataclasses.dataclass(frozen=True)
class FullMarks:
    """1 where another reward reaches `threshold`, else 0; NaN stays NaN. Removes partial credit."""

    reward: samples.Reward
    threshold: float = 1.0

    def __call__(self, sample: samples.Sample) -> float:
        """1, 0 or NaN."""
        score = self.reward(sample)
        return score if score != score else float(score >= self.threshold)
