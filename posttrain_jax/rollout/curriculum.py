"""Selections that pass prompts over: those that are too hard so far, and those that are solved."""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, Int

from posttrain_jax.rollout import selection


@dataclasses.dataclass(frozen=True)
class EasyFirst:
    """A curriculum: at first the easiest prompts alone, and all of them after `steps` steps.

    c(t) = min(1, sqrt(t (1 - c_0^2) / T + c_0^2)) is the share of the data that step t draws from.

    Source: Platanios et al. 2019 (competence-based curriculum learning, arXiv:1903.09848, eq. 7).
    """

    difficulties: Float[np.ndarray, "D"]
    """Of every row of the data, in any unit: lengths, 1 - success rates of some model."""
    steps: int
    """Until all prompts are drawn (T)."""
    start: float = 0.01
    """Share of the data at the start (c_0)."""

    def __post_init__(self):
        if self.steps < 1 or not 0 < self.start <= 1:
            raise ValueError(f"steps={self.steps} must be at least 1, and start={self.start} above 0 and at most 1.")

    def __repr__(self) -> str:
        """What a run is compared by when it goes on: not all of the difficulties."""
        told = f"{len(self.difficulties)} of sum {math.fsum(self.difficulties):.9g}"
        return f"EasyFirst(difficulties={told}, steps={self.steps}, start={self.start})"

    def init_memory(self, prompts: int) -> selection.Memory:
        """Nothing: the step says how far it is."""
        if len(self.difficulties) != prompts:
            raise ValueError(f"{len(self.difficulties)} difficulties are given for {prompts} prompts: give one each.")
        return {}

    def collect(self, memory: selection.Memory, ask: selection.Ask) -> tuple[selection.Found, selection.Memory]:
        """One round."""
        share = min(1.0, math.sqrt((ask.step - 1) * (1 - self.start**2) / self.steps + self.start**2))
        ranks = np.argsort(np.argsort(self.difficulties, kind="stable"), kind="stable")
        return ask(admitted(ask, ranks < max(1, math.ceil(share * len(ranks))))), memory


@dataclasses.dataclass(frozen=True)
class Unsolved:
    """No more completions of prompts that are solved: those whose last share of successes was `rate` or more.

    Source: Khatri et al. 2025 (ScaleRL's no-positive-resampling, arXiv:2510.13786).
    """

    rate: float = 0.9
    """Share of successes from which a prompt is solved."""
    above: float = 0.5
    """A reward above this is a success."""
    column: str | None = None
    """The reward that counts; None for the weighted sum."""

    def __post_init__(self):
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate={self.rate} must be above 0 and at most 1.")

    def init_memory(self, prompts: int) -> selection.Memory:
        """The last share of successes of every prompt; 0 of one that was not asked."""
        return {"rates": np.zeros(prompts, np.float32)}

    def collect(self, memory: selection.Memory, ask: selection.Ask) -> tuple[selection.Found, selection.Memory]:
        """One round."""
        found = ask(admitted(ask, memory["rates"] < self.rate))
        places, rates = selection.success_rates(found, above=self.above, column=self.column)
        return found, {"rates": selection.updated(memory["rates"], places, rates)}


def admitted(ask: selection.Ask, admit: Bool[np.ndarray, "D"]) -> Int[np.ndarray, "P"]:
    """The next prompts of the shuffled pass that are admitted; the others are passed over.

    Raises:
        ExhaustedError: no prompt is.
    """
    if not np.any(admit):
        raise selection.ExhaustedError(f"all {len(admit)} prompts are solved: end the run, or give it harder ones.")
    places = ask.fresh(ask.rows)
    while not np.all(admit[places]):
        places = places[admit[places]]
        places = np.concatenate([places, ask.fresh(ask.rows - len(places))])
    return places
