"""Rewards without a gold answer: do the completions of a prompt agree?

Answers are sorted into classes in the order of the samples: an answer joins the first class whose first member is the
`same`. Free text, in which no two answers coincide, gives every answer a class of its own.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples


def equal(first: str, second: str) -> bool:
    """Letter for letter."""
    return first == second


def classes(answers: Sequence[str | None], same: Callable[[str, str], bool]) -> list[int | None]:
    """The class of each answer, counted from 0 in the order of their first members; None of no answer."""
    heads: list[str] = []
    found: list[int | None] = []
    for answer in answers:
        if answer is None:
            found.append(None)
            continue
        place = next((index for index, head in enumerate(heads) if same(head, answer)), len(heads))
        if place == len(heads):
            heads.append(answer)
        found.append(place)
    return found


@dataclasses.dataclass(frozen=True)
class Learners:
    """A vote of all samples from which only the first `count` learn: the others have NaN.

    Of 64 samples that vote 32 learn in TTRL, of 32 in TTRV 16.
    """

    vote: samples.GroupReward
    count: int

    def score_group(self, group: Sequence[samples.Sample]) -> list[float]:
        """The vote's, or NaN."""
        scores = self.vote.score_group(group)
        return [score if place < self.count else math.nan for place, score in enumerate(scores)]


@dataclasses.dataclass(frozen=True)
class Majority:
    """1 for the answer that most samples of the prompt give, else 0, also where no answer is found.

    Among equally frequent answers the one that came first wins. NaN for all where no sample has an answer, or where the
    winner's share among the answers is below `min_share`.

    All samples vote and all are rewarded; with `Learners` only the first are, as in the paper.

    Source: TTRL (Zuo et al. 2025, arXiv:2504.16084).
    """

    extract: extracts.Extract
    """From the completion to the answer; None where there is none."""
    same: Callable[[str, str], bool] = equal
    """Whether two answers are one."""
    min_share: float = 0.0
    """In [0, 1]; the paper's 0 trusts any majority."""

    def score_group(self, group: Sequence[samples.Sample]) -> list[float]:
        """1, 0 or NaN."""
        found = classes([self.extract(sample.completion) for sample in group], self.same)
        votes = [place for place in found if place is not None]
        winner = max(sorted(set(votes)), key=votes.count, default=None)
        if winner is None or votes.count(winner) < self.min_share * len(votes):
            return [math.nan] * len(group)
        return [float(place == winner) for place in found]


@dataclasses.dataclass(frozen=True)
class Frequency:
    """The share of samples that give the same answer, less the entropy of the answers.

    r_i = p(a_i) - entropy_coef H(p) / ln M, with p the shares of the M different answers among the answers found, H in
    nats; the second term is 0 where M = 1. No answer counts as a share of 0 and does not enter p. NaN for all where no
    sample has an answer.

    The second term is one number for the whole group: it cancels in every advantage that subtracts the group's mean,
    and acts only where rewards of several prompts are compared (`REINFORCEPlusPlus`, a critic).

    Differs from the paper: the entropy is divided by ln M, as in the authors' code; there, completions without an
    answer form a class of their own.

    Source: TTRV (Singh et al. 2025, arXiv:2510.06783, eqs. 3-7).
    """

    extract: extracts.Extract
    same: Callable[[str, str], bool] = equal
    entropy_coef: float = 0.75
    """alpha in the paper; the authors' code has 0.75."""

    def score_group(self, group: Sequence[samples.Sample]) -> list[float]:
        """At most 1, or NaN."""
        found = classes([self.extract(sample.completion) for sample in group], self.same)
        votes = [place for place in found if place is not None]
        if not votes:
            return [math.nan] * len(group)
        shares = {place: votes.count(place) / len(votes) for place in votes}
        entropy = -sum(share * math.log(share) for share in shares.values())
        spread = entropy / math.log(len(shares)) if len(shares) > 1 else 0.0
        return [(0.0 if place is None else shares[place]) - self.entropy_coef * spread for place in found]
