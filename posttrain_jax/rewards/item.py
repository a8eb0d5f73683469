"""Completions that are lists, one item a line: is the item at a rank among the right ones?

Source: Rank-GRPO (Zhu et al. 2025, arXiv:2510.20150) and its code.
"""

import dataclasses
import math
import re
from collections.abc import Callable

from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples

NUMBERING = re.compile(r"^\s*(?:\d+[.):]|[-*])\s*")


def plain(line: str) -> str:
    """An item as it is compared: without numbering or bullet, lower case, single spaces."""
    return " ".join(NUMBERING.sub("", line).lower().split())


@dataclasses.dataclass(frozen=True)
class Hit:
    """1 where the item at a rank is a right one that no earlier rank named, else 0; NaN where no item is right.

    Lines count as ranks whether or not they hold an item, as tokens are counted by line ends. Items that the example
    says were seen before are not right.
    """

    rank: int
    """From 1."""
    extract: extracts.Extract = extracts.whole
    """From the completion to the list; None gives 0."""
    same: Callable[[str], str] = plain
    """Applied to lines and to right items before they are compared."""
    answer_field: str = "answer"
    """In the example: the right items."""
    seen_field: str | None = None
    """In the example: items that do not count, or None where there are none."""

    def __post_init__(self):
        """Refuse a rank that no list has."""
        if self.rank < 1:
            raise ValueError(f"rank={self.rank} is no place in a list: the first is 1.")

    def __call__(self, sample: samples.Sample) -> float:
        """1, 0 or NaN."""
        seen = () if self.seen_field is None else samples.field(sample, self.seen_field)
        right = set(map(self.same, samples.field(sample, self.answer_field))) - set(map(self.same, seen))
        if not right:
            return math.nan
        text = self.extract(sample.completion)
        lines = [] if text is None else [self.same(line) for line in text.split("\n")]
        item = lines[self.rank - 1] if self.rank <= len(lines) else ""
        return float(item in right and item not in lines[: self.rank - 1])


def hits(count: int, first: Hit | None = None) -> dict[str, tuple[float, Hit]]:
    """Rewards `hit_1` ... of the ranks, weighted by 1 / log2(rank + 1), so that their sum is the list's DCG.

    Args:
        count: ranks.
        first: what is the same for all ranks; None is `Hit` as it stands.
    """
    hit = Hit(1) if first is None else first
    ranks = range(1, count + 1)
    return {f"hit_{rank}": (1 / math.log2(rank + 1), dataclasses.replace(hit, rank=rank)) for rank in ranks}
