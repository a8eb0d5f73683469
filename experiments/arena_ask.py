"""How a selection of `policy_arena` asks the policy."""

import dataclasses
from collections.abc import Callable
from typing import Any

import digit_task
import jax
import numpy as np

from posttrain_jax.rollout import selection


@dataclasses.dataclass
class Ask:
    """The way of one run, of one rate and seed, to its policy: a `selection.Ask`."""

    draw: Callable
    """From parameters, prompts and a key to a rollout and its rewards."""
    rows: int
    group_size: int
    order: np.random.Generator
    step: int = 0
    round: int = 0
    tokens: int = 0
    params: Any = None
    key: Any = None
    left: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))

    def fresh(self, count: int) -> np.ndarray:
        """Of shuffled passes over the training prompts."""
        while len(self.left) < count:
            self.left = np.concatenate([self.left, self.order.permutation(len(digit_task.TRAIN))])
        places, self.left = np.split(self.left, [count])
        return places

    def __call__(self, places: np.ndarray) -> selection.Found:
        """Completions and rewards, in numpy."""
        found, columns = jax.device_get(self.draw(self.params, digit_task.TRAIN[places], self.key, self.round))
        self.round, self.tokens = self.round + 1, self.tokens + found.groups.completion_lengths.sum()
        steps = np.full(len(places), self.step, np.int32)
        return selection.Found(found, columns["right"], columns, {}, None, places, steps)
