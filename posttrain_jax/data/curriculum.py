"""Pairs from scored completions, the easy ones first (Curry-DPO).

Every completion of a prompt is paired with the best one. The larger the difference of the scores, the easier the
pair: stage 1 holds every prompt's pair of the largest difference, stage 2 the next, and so on. Each stage is a run of
its own over `stages(...)[i]`: it starts from the model of the stage before, which is its reference too (`run_offline`
with `ref_params=None`), with a fresh optimizer. The references add up: report the divergence from the first one.
One stage is DPO on all pairs; two completions are DPO.

Source: Pattnaik et al. 2024 (arXiv:2403.07230). With 4 completions and 3 stages, of one epoch each.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from posttrain_jax.data import encode, fields, source


@dataclasses.dataclass(frozen=True)
class Pair:
    """Which two completions of a prompt, and how far their scores lie apart."""

    chosen: int
    rejected: int
    gap: float


def pairs(scores: Sequence[float]) -> list[Pair]:
    """The best completion against each of the others, the easiest first; ties with the best and NaN are left out."""
    known = [index for index, rating in enumerate(scores) if not np.isnan(rating)]
    best = max(known, key=lambda index: scores[index], default=0)
    found = [Pair(best, index, float(scores[best] - scores[index])) for index in known]
    return sorted((pair for pair in found if pair.gap > 0), key=lambda pair: -pair.gap)


def stages(rankings: Sequence[fields.Ranking], count: int) -> list[list[fields.Preference]]:
    """`count` lists of preferences, the easiest pairs of every prompt first.

    A prompt's pairs are cut into stages by their rank, whatever their differences are among those of other prompts;
    a prompt with fewer pairs than stages has none in the last ones.

    Args:
        rankings: with scores, as `RankingFields(scores=...)` reads them.
        count: of stages.

    Raises:
        ValueError: `count` is not positive, a ranking has no scores, or a stage is empty.
    """
    if count < 1:
        raise ValueError(f"{count} stages hold no pair: take at least 1.")
    found: list[list[fields.Preference]] = [[] for _ in range(count)]
    for ranking in rankings:
        if ranking.scores is None:
            raise ValueError("a curriculum goes by differences of scores: read rankings with a field of scores.")
        own = pairs(ranking.scores)
        size = max(-(-len(own) // count), 1)
        for rank, pair in enumerate(own):
            chosen, rejected = ranking.completions[pair.chosen], ranking.completions[pair.rejected]
            found[rank // size].append(fields.Preference(ranking.prompt, chosen, rejected))
    if not all(found):
        raise ValueError(f"no prompt has pairs for all {count} stages: take fewer, or score more completions.")
    return found


@dataclasses.dataclass(frozen=True)
class Stage:
    """The pairs of one of the stages of `stages`, as a kind of `data.reading`: one of each row.

    Rows with fewer pairs (completions that score alike are none) are left out and counted.
    """

    stage: int = 0
    """0 takes the easiest pair of a row, 1 the next; K completions have K - 1."""
    prompt: fields.PromptFields = fields.PromptFields()
    completions: str = "completions"
    scores: str = "scores"
    """The field with a number for each completion."""
    group_size = 2

    def token_row(self, index: int, row: source.Row, tally: encode.Tally) -> encode.TokenRow | None:
        """See `reading.Reading.token_row`."""
        listed = fields.RankingFields(self.prompt, self.completions)(row)
        scores = [fields.number({self.scores: one}, self.scores) for one in fields.entry(row, self.scores)]
        if len(scores) != len(listed.completions):
            raise ValueError(f"field {self.scores!r} holds no list of {len(listed.completions)} numbers.")
        own = pairs(scores)
        if self.stage >= len(own):
            return tally.leave_out()
        texts = [listed.completions[place] for place in (own[self.stage].chosen, own[self.stage].rejected)]
        return tally.fit(index, *encode.group(tally.tokenizer, listed.prompt, texts))


def min_max(scores: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Scores of the whole data set rescaled to [0, 1], NaN left as it is: the column `scores` of SmPO.

    Source: Lu et al. 2025 (arXiv:2506.02698).
    """
    low, high = np.nanmin(scores), np.nanmax(scores)
    if not high > low:
        raise ValueError(f"all scores are {low}: there is nothing to tell apart.")
    return ((scores - low) / (high - low)).astype(np.float32)
