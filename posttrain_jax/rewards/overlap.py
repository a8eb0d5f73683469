"""How much of the gold answer is in the answer: shares of words and of letters.

Gold that is empty gives NaN: there is nothing to compare with. No answer found gives 0.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Sequence

from posttrain_jax.rewards import exact_match
from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples


def f1(answer: Sequence[str], gold: Sequence[str]) -> float:
    """2 |both| / (|answer| + |gold|), counting what comes several times so often; the F1 of SQuAD."""
    return 2 * (collections.Counter(answer) & collections.Counter(gold)).total() / (len(answer) + len(gold))


def recall(answer: Sequence[str], gold: Sequence[str]) -> float:
    """|both| / |gold|."""
    return (collections.Counter(answer) & collections.Counter(gold)).total() / len(gold)


def contains(answer: Sequence[str], gold: Sequence[str]) -> float:
    """1 where the gold words stand in the answer, one behind the other (sub-match), else 0."""
    width = len(gold)
    return float(any(list(answer[at : at + width]) == list(gold) for at in range(len(answer) - width + 1)))


def subset(answer: Sequence[str], gold: Sequence[str]) -> float:
    """|answer| / |gold| of different members where the answer names no wrong one, else 0: the soft reward of TW-GRPO.

    Source: TW-GRPO (Dang et al. 2025, arXiv:2505.24718), as in the authors' code.
    """
    return len(set(answer)) / len(set(gold)) if set(answer) <= set(gold) else 0.0


def jaccard(answer: Sequence[str], gold: Sequence[str]) -> float:
    """|both| / |either| of different members."""
    return len(set(answer) & set(gold)) / len(set(answer) | set(gold))


def words(text: str) -> list[str]:
    """Of the text without case, punctuation and articles."""
    return exact_match.plain_words(text).split()


def letters(text: str) -> list[str]:
    """Options cut at commas, upper case, stripped: `A, c` is A and C."""
    return [part.strip().upper() for part in text.split(",") if part.strip()]


@dataclasses.dataclass(frozen=True)
class Overlap:
    """The best overlap with any gold answer: `Overlap(f1)`, `Overlap(contains)`, `Overlap(subset, split=letters)`.

    Source: F1 and recall of SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250).
    """

    measure: Callable[[Sequence[str], Sequence[str]], float]
    """Of the answer's parts and the gold's; neither is empty."""
    split: Callable[[str], list[str]] = words
    extract: extracts.Extract = extracts.whole
    answer_field: str = "answer"

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1], or NaN."""
        answers = samples.field(sample, self.answer_field)
        golds = [self.split(gold) for gold in ([answers] if isinstance(answers, str) else answers)]
        golds = [gold for gold in golds if gold]
        if not golds:
            return math.nan
        text = self.extract(sample.completion)
        answer = [] if text is None else self.split(text)
        return max(self.measure(answer, gold) for gold in golds) if answer else 0.0


@dataclasses.dataclass(frozen=True)
class AnswerRecall:
    """The share of gold words in the answer; all or nothing for a short gold answer, and for any of several.

    Source: R1-Router (Peng et al. 2025, Step-GRPO, arXiv:2505.22095), as in the authors' code.
    """

    short: int = 5
    """Gold answers of at most so many words must all be there."""
    extract: extracts.Extract = extracts.LastTag()
    answer_field: str = "answer"

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1], or NaN."""
        share = Overlap(recall, extract=self.extract, answer_field=self.answer_field)(sample)
        answers = samples.field(sample, self.answer_field)
        long = isinstance(answers, str) and len(words(answers)) > self.short
        return share if long or math.isnan(share) else float(share == 1)
