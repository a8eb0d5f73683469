"""Does the box that the completion names lie where the gold box does?

Boxes are x1, y1, x2, y2 in any unit, as `{"bbox_2d": [10, 20, 30, 40]}` in the text.

Source: Yu et al. 2025 (DocThinker, arXiv:2508.08589): 1 where the overlap is at least a half.
"""

import dataclasses
import re
from collections.abc import Sequence

from posttrain_jax.rewards import sample as samples

NUMBER = r"\s*(-?\d+(?:\.\d+)?)\s*"


def overlap(one: Sequence[float | int], other: Sequence[float | int]) -> float:
    """Intersection over union of two boxes; 0 where they do not meet, or where both are empty."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    union = _area(one) + _area(other) - shared
    return float(shared / union) if union > 0 else 0.0


def _area(box: Sequence[float | int]) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


@dataclasses.dataclass(frozen=True)
class BoxOverlap:
    """1 where the last box of that name in the completion overlaps the gold box enough, else 0; 0 without a box."""

    name: str = "bbox_2d"
    """What stands before the box in the completion, in double quotes."""
    box_field: str = "box"
    """Of the example: the gold box."""
    at_least: float = 0.5
    """Intersection over union that is enough."""

    def __post_init__(self):
        if not 0 < self.at_least <= 1:
            raise ValueError(f"at_least={self.at_least} must lie above 0 and at most at 1.")

    def __call__(self, sample: samples.Sample) -> float:
        """1 or 0."""
        gold = samples.field(sample, self.box_field)
        pattern = rf'"{re.escape(self.name)}"\s*:\s*\[{",".join([NUMBER] * 4)}\]'
        found = re.findall(pattern, sample.completion)
        return float(bool(found) and overlap([float(x) for x in found[-1]], gold) >= self.at_least)
