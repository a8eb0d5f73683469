"""Prompts made easier where they are hard for the policy, and harder where they are easy.

Source: DeepVideo-R1 2025 (arXiv:2506.07464), difficulty-aware augmentation; its schedules are reconstructed. There
noise is put on frames: of text `perturb` is yours.
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence


class Recent:
    """The mean reward of the last steps, that prompts are compared with; `values` is what a checkpoint must hold."""

    def __init__(self, window: int, values: Sequence[float] = ()):
        """Args: steps that are remembered (W, 100 in the paper), and what was remembered before."""
        self._values = collections.deque(values, maxlen=window)

    @property
    def values(self) -> list[float]:
        """Of the last steps, oldest first."""
        return list(self._values)

    def add(self, reward: float) -> None:
        """The mean reward of one more step."""
        self._values.append(reward)

    def difficulty(self, reward: float) -> float:
        """D = mean of the last steps - reward: above 0 of a prompt harder than usual; 0 before the first step."""
        return sum(self._values) / len(self._values) - reward if self._values else 0.0


@dataclasses.dataclass(frozen=True)
class Adapt:
    """A hint that grows with the difficulty D > 0, a perturbation that grows with -D.

    Hint: the first clip(D / range, 0, 1) most_hint of the words of a solution. Perturbation: of strength
    clip(-D / range, 0, 1) most_noise.
    """

    perturb: Callable[[str, float], str]
    """From prompt and strength to another prompt."""
    range: float = 1.0
    """The difficulty at which both are strongest (D_max), in rewards."""
    most_hint: float = 0.5
    """Share of the solution that is told at most."""
    most_noise: float = 1.0
    """Strength at most."""

    def __call__(self, prompt: str, solution: str, difficulty: float) -> str:
        """The prompt for this time.

        Args:
            prompt: as it stands in the data.
            solution: the best-rewarded completion sampled with the answer in the prompt.
            difficulty: `Recent.difficulty` of the prompt's rewards.
        """
        if difficulty < 0:
            return self.perturb(prompt, min(-difficulty / self.range, 1) * self.most_noise)
        words = solution.split()
        told = words[: round(min(difficulty / self.range, 1) * self.most_hint * len(words))]
        return f"{prompt}\n\nHint: {' '.join(told)}" if told else prompt
