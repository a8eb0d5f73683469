"""Another reward for each kind of example."""

import dataclasses
import math
from collections.abc import Mapping

from posttrain_jax.rewards import sample as samples


@dataclasses.dataclass(frozen=True)
class Routed:
    """The reward that the example's field names; NaN where it names none of these.

    So steps of several kinds (Step-GRPO), or tasks that are verified, ranked and open (URPO), train together: every
    prompt is a group of its own, whose rewards are compared with one another alone.

    Source: R1-Router (Peng et al. 2025, Step-GRPO, arXiv:2505.22095).
    """

    field: str
    """Of the example: "step_type", "task"."""
    rewards: Mapping[str, samples.Reward]
    """By what stands there."""

    def __call__(self, sample: samples.Sample) -> float:
        """The named reward's, or NaN."""
        reward = self.rewards.get(samples.field(sample, self.field))
        return math.nan if reward is None else reward(sample)
