"""A reward that counts only where another is earned."""

import dataclasses
import math

from posttrain_jax.rewards import sample as samples


@dataclasses.dataclass(frozen=True)
class Gated:
    """`reward` where `by` gives more than `above`, else 0; NaN where `by` does not apply.

    `Gated(rephrased, by=correct)` rewards a good rephrasing of correct answers alone. `reward` is not called where the
    gate is shut.

    Source: Yu et al. 2025 (DocThinker, arXiv:2508.08589).
    """

    reward: samples.Reward
    """What is earned."""
    by: samples.Reward
    """What must be earned first."""
    above: float = 0.5
    """A gate of more than this is open."""

    def __call__(self, sample: samples.Sample) -> float:
        """The reward, 0 or NaN."""
        gate = self.by(sample)
        if math.isnan(gate):
            return math.nan
        return self.reward(sample) if gate > self.above else 0.0
