"""A judge that gives points by criterion; the sum is ours, since models add badly."""

import dataclasses

from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import json_value, judge
from posttrain_jax.rewards import sample as samples


@dataclasses.dataclass(frozen=True)
class Criterion:
    """One thing that is judged."""

    name: str
    description: str
    most: float = 5.0
    """Points at best; 0 at worst."""


REASONING = (
    Criterion("grounding", "the answer follows from what was given"),
    Criterion("order", "events and steps are in the right order"),
    Criterion("options", "options are told apart, and wrong ones ruled out for a reason"),
    Criterion("specificity", "the reasoning names what it rests on"),
    Criterion("language", "it is written precisely"),
)
"""The five dimensions of ReAgent-V (visual alignment, temporal accuracy, ...), in words that fit text."""


@dataclasses.dataclass(frozen=True)
class Rubric:
    """Points over all criteria / the most there are.

    A reply without a number of points for every criterion, or with one out of bounds, raises: the sample has no score.

    Source: ReAgent-V (Zhou et al. 2025, arXiv:2506.01300), as in the authors' prompts.
    """

    judge: judge.Judge
    criteria: tuple[Criterion, ...] = REASONING
    extract: extracts.Extract = extracts.whole
    """From the completion to what is judged; None, an answer that is not found, gives 0."""

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1]."""
        answer = self.extract(sample.completion)
        if answer is None:
            return 0.0
        lines = "\n".join(f"{one.name} (0 to {one.most:g}): {one.description}" for one in self.criteria)
        form = "End with <points>{...}</points>, a JSON object of a number for each name."
        text = judge.ask(
            self.judge, "points", f"Task:\n{sample.prompt}", judge.quote("Answer", answer), f"Judge:\n{lines}", form
        )
        found = json_value.parse(text)
        points = []
        for one in self.criteria:
            given = found.get(one.name) if isinstance(found, dict) else None
            if not isinstance(given, int | float) or isinstance(given, bool) or not 0 <= given <= one.most:
                raise ValueError(f"the judge gave {one.name!r} {given!r} points, which is not from 0 to {one.most:g}.")
            points.append(given)
        return sum(points) / sum(one.most for one in self.criteria)
