"""Is the next question the right one, and asked of the right source?"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples

Embed = Callable[[str], Sequence[float]]
"""From a text to its vector: a frozen model of yours, loaded in the worker at first use."""


def cosine(first: Sequence[float], second: Sequence[float]) -> float:
    """<a, b> / (|a| |b|); 0 where one is 0."""
    norms = math.sqrt(sum(x * x for x in first) * sum(x * x for x in second))
    return sum(a * b for a, b in zip(first, second, strict=True)) / norms if norms > 0 else 0.0


@dataclasses.dataclass(frozen=True)
class SubQuestion:
    """cos(embed(question), embed(gold)) / 2 + 1[the source named is the gold one] / 2.

    0 where the question or the sources are not found, a source is none of `sources`, or `none` is named beside another.

    Source: R1-Router (Peng et al. 2025, Step-GRPO, arXiv:2505.22095), as in the authors' code.
    """

    embed: Embed
    sources: tuple[str, ...]
    """That may be asked; `none` asks nothing."""
    none: str = "none"
    question: extracts.Extract = extracts.LastTag("sub-question")
    source: extracts.Extract = extracts.LastTag("ret")
    """From the completion to the sources' names, cut at commas."""
    question_field: str = "query"
    source_field: str = "retriever"

    def __call__(self, sample: samples.Sample) -> float:
        """In [-0.5, 1]."""
        question, named = self.question(sample.completion), self.source(sample.completion)
        if question is None or named is None:
            return 0.0
        names = [name.strip() for name in named.split(",")]
        if not set(names) <= {*self.sources, self.none} or (self.none in names and len(names) > 1):
            return 0.0
        gold = samples.field(sample, self.question_field)
        right = names == [samples.field(sample, self.source_field)]
        return 0.5 * cosine(self.embed(question), self.embed(gold)) + 0.5 * right
