"""The reward of TimeMaster (Zhang et al. 2025, arXiv:2506.13705), as in the authors' code.

r = 0.9 [right class] + 0.1 [legal class] + 0.5 extension [right class and legal]
"""

import dataclasses

from posttrain_jax.rewards import exact_match, extract, gated
from posttrain_jax.rewards import sample as samples

CLASS = extract.LastTag("class")


def plain(text: str) -> str:
    """Stripped, without case."""
    return text.strip().lower()


@dataclasses.dataclass(frozen=True)
class Legal:
    """1 where the class that is named is one of the labels, else 0."""

    labels: tuple[str, ...]

    def __call__(self, sample: samples.Sample) -> float:
        """1 or 0."""
        found = CLASS(sample.completion)
        return float(found is not None and plain(found) in map(plain, self.labels))


def rewards(labels: tuple[str, ...], extension: samples.Reward) -> dict[str, tuple[float, samples.Reward]]:
    """Terms of `WeightedRewards`; the extension is not judged where the class is wrong.

    Args:
        labels: that are legal; the right one is the example's `answer`.
        extension: of the text behind, in [0, 1]: a judge's mean over specificity, appropriateness, relevance, depth.
            Where the judge fails the sample has no score.
    """
    right, legal = exact_match.ExactMatch(CLASS, plain), Legal(labels)
    both = gated.Gated(gated.Gated(extension, by=legal), by=right)
    return {"class": (0.9, right), "legal": (0.1, legal), "extension": (0.5, both)}
