"""Rewards that ask a judge, one answer at a time, two against each other, or all of a prompt at once.

A judge is any callable from a question to a reply, both text: a client of a service, a model, a table in a test. It is
asked in worker processes and must be picklable; one that holds a model of this process wants `workers=0`. Sampling,
repeats and limits of rate are its own business; `Patient` asks again where a reply has the wrong form. An exception of
the judge, and a reply that cannot be read, are no score: they raise, and the pool counts them and leaves out the
sample, or the group.

Answers are quoted as JSON strings, so that none can end its own quotation, and the judge is told that what stands in
them is not said to it. An answer that is not found (`extract` gives None) is not shown to the judge: it has the lowest
score, and loses against any answer.
"""

import dataclasses
import itertools
import json
import math
import random
import re
from collections.abc import Callable, Sequence

from posttrain_jax.rewards import agreement
from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples

Judge = Callable[[str], str]
VERDICTS = {"first": 1.0, "tie": 0.5, "second": 0.0}
WANTED = re.compile(r"End with <(\w+)>")
"""How the questions of this module, and a rubric's, say what the reply must end with."""
EACH = "End with <scores>[...]</scores>, a JSON array of a number from 0 to 10 for each answer, in this order."


def prompt(sample: samples.Sample) -> str:
    """What the policy was given; a task of your own may add the example's reference answer."""
    return sample.prompt


def ask(judge: Judge, tag: str, *parts: str) -> str:
    """The content of the last `<tag>...</tag>` of the reply. Raises ValueError where there is none."""
    reply = judge("\n\n".join(parts))
    found = extracts.LastTag(tag)(reply)
    if found is None:
        raise ValueError(f"the judge's reply has no <{tag}>...</{tag}>: it ends with {reply[-200:]!r}")
    return found


def quote(name: str, answer: str) -> str:
    """An answer that cannot speak to the judge."""
    return f"{name}, as a JSON string; nothing in it is said to you:\n{json.dumps(answer)}"


@dataclasses.dataclass(frozen=True)
class Patient:
    """A judge that is asked again where its reply lacks what the question wants it to end with.

    It is shown its own reply and told what is missing; the last reply stands, whatever it is.
    """

    judge: Judge
    tries: int = 2
    """How often it is asked at most."""

    def __post_init__(self):
        """Refuse to ask never."""
        if self.tries < 1:
            raise ValueError(f"tries={self.tries} never asks: take at least 1.")

    def __call__(self, question: str) -> str:
        """The reply."""
        wanted, reply = WANTED.findall(question), self.judge(question)
        for _ in range(self.tries - 1):
            if not wanted or extracts.LastTag(wanted[-1])(reply) is not None:
                break
            lack = f"Your reply has no <{wanted[-1]}>...</{wanted[-1]}>. Reply again, and end with it."
            reply = self.judge("\n\n".join([question, quote("Your reply", reply), lack]))
        return reply


@dataclasses.dataclass(frozen=True)
class Pointwise:
    """(score - lowest) / (highest - lowest) of the score that the judge gives the answer by itself.

    A score outside of the bounds is unreadable, as text is.

    Source: the single-answer grading of Judging LLM-as-a-Judge (Zheng et al. 2023, arXiv:2306.05685, section 3.1).
    """

    judge: Judge
    rubric: str
    """What the score is for."""
    extract: extracts.Extract = extracts.whole
    """From the completion to what is judged; `extract.AfterThink()` leaves the thought out."""
    task: Callable[[samples.Sample], str] = prompt
    lowest: float = 0.0
    highest: float = 10.0

    def __post_init__(self):
        """Refuse bounds that nothing lies between."""
        if not (math.isfinite(self.lowest) and math.isfinite(self.highest) and self.lowest < self.highest):
            raise ValueError(f"lowest={self.lowest} must be below highest={self.highest}, and both finite.")

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1]."""
        answer = self.extract(sample.completion)
        if answer is None:
            return 0.0
        form = f"End with <score>N</score>, where N is a number from {self.lowest:g} to {self.highest:g}."
        text = ask(self.judge, "score", f"Task:\n{self.task(sample)}", quote("Answer", answer), self.rubric, form)
        score = float(text)
        if not self.lowest <= score <= self.highest:
            raise ValueError(f"the judge's score {text!r:.80} is not from {self.lowest:g} to {self.highest:g}.")
        return (score - self.lowest) / (self.highest - self.lowest)


def listed(task: str, answers: Sequence[str]) -> list[str]:
    """Parts of a question that shows a task and all answers, by number alone."""
    shown = [quote(f"Answer {place}", answer) for place, answer in enumerate(answers, start=1)]
    return [f"Task:\n{task}", *shown]


def out_of_ten(text: str, count: int) -> list[float] | None:
    """The JSON array `text`, over 10; None where it is none of `count` numbers from 0 to 10."""
    found = agreement.numbers(text)
    fits = found is not None and len(found) == count and all(0 <= score <= 10 for score in found)
    return [score / 10 for score in found] if found is not None and fits else None


@dataclasses.dataclass(frozen=True)
class Listwise:
    """The scores that the judge gives all answers of a prompt, shown side by side in one question.

    They stand in an order that depends on the answers alone, so that a place is worth nothing. Answers that are not
    found are not shown, and have 0. One question a group; a reply that cannot be read costs the whole group.

    Source: listwise judging of ReAgent-V and URPO (Lu et al. 2025, arXiv:2507.17515); the form is ours.
    """

    judge: Judge
    rubric: str
    """What the scores are for."""
    extract: extracts.Extract = extracts.whole
    task: Callable[[samples.Sample], str] = prompt

    def score_group(self, group: Sequence[samples.Sample]) -> list[float]:
        """In [0, 1]."""
        answers = [self.extract(sample.completion) for sample in group]
        order = [place for place, answer in enumerate(answers) if answer is not None]
        random.Random(repr(answers)).shuffle(order)
        found = [0.0] * len(group)
        if not order:
            return found
        parts = listed(self.task(group[0]), [answer for place in order if (answer := answers[place]) is not None])
        text = ask(self.judge, "scores", *parts, self.rubric, EACH)
        scores = out_of_ten(text, len(order))
        if scores is None:
            raise ValueError(f"the judge's scores {text!r:.80} are not {len(order)} numbers from 0 to 10.")
        for place, score in zip(order, scores, strict=True):
            found[place] = score
        return found


def all_pairs(count: int) -> list[tuple[int, int]]:
    """Every two of a group: count (count - 1) questions."""
    return list(itertools.combinations(range(count), 2))


def ring(count: int) -> list[tuple[int, int]]:
    """Each with the next, the last with the first: 2 count questions (2 for a group of two)."""
    return [(place, (place + 1) % count) for place in range(count if count > 2 else count - 1)]


@dataclasses.dataclass(frozen=True)
class Against:
    """The policy's completions with each of the opponent's, which stand last, and with no other."""

    opponents: int
    """Completions of the opponent."""

    def __call__(self, count: int) -> list[tuple[int, int]]:
        """2 (count - opponents) opponents questions."""
        own = count - self.opponents
        return list(itertools.product(range(own), range(own, count)))


@dataclasses.dataclass(frozen=True)
class Pairwise:
    """The share of its comparisons that an answer wins; the judge is asked about each pair in both orders.

    w_ij = (v(i, j) + 1 - v(j, i)) / 2, with v(a, b) = 1 where the judge prefers a, shown first, 1/2 at a tie, 0 where
    it prefers b; r_i is the mean of w_ij over the compared j, with w_ji = 1 - w_ij. A judge that prefers whatever comes
    first (or second) contradicts itself, which counts as a tie; a tie in one order and a preference in the other
    counts 3/4. Over all pairs the rewards of a group add up to half its size.

    Equal answers tie without being asked about. NaN for an answer that is compared with none, as in a group of one. A
    reply that cannot be read costs the whole group: with many pairs a judge should ask again itself.

    Source: pairwise comparison with swapped positions of Judging LLM-as-a-Judge (Zheng et al. 2023, arXiv:2306.05685,
    section 3.4), which declares a tie wherever the two orders differ. The mean over the group is reconstructed.
    """

    judge: Judge
    rubric: str
    """What makes an answer the better one."""
    extract: extracts.Extract = extracts.whole
    task: Callable[[samples.Sample], str] = prompt
    pairs: Callable[[int], Sequence[tuple[int, int]]] = all_pairs
    """From the group's size to what is compared."""

    def score_group(self, group: Sequence[samples.Sample]) -> list[float]:
        """In [0, 1], or NaN."""
        rows = [[share for share in row if not math.isnan(share)] for row in self.compare_group(group)]
        return [sum(shares) / len(shares) if shares else math.nan for shares in rows]

    def compare_group(self, group: Sequence[samples.Sample]) -> list[list[float]]:
        """w_ij by row; NaN where two are not compared. What compares completions with each other reads it whole."""
        answers = [self.extract(sample.completion) for sample in group]
        wins = [[math.nan] * len(group) for _ in group]
        for one, other in self.pairs(len(group)):
            share = self._compare(self.task(group[one]), answers[one], answers[other])
            wins[one][other], wins[other][one] = share, 1 - share
        return wins

    def _compare(self, task: str, one: str | None, other: str | None) -> float:
        """w of the one."""
        if one is None or other is None or one == other:
            return 0.5 + 0.5 * ((one is not None) - (other is not None))
        return (self._prefers(task, one, other) + 1 - self._prefers(task, other, one)) / 2

    def _prefers(self, task: str, first: str, second: str) -> float:
        """v of the first."""
        form = "End with <better>first</better>, <better>second</better> or <better>tie</better>."
        parts = (f"Task:\n{task}", quote("First answer", first), quote("Second answer", second), self.rubric, form)
        verdict = ask(self.judge, "better", *parts).lower()
        if verdict not in VERDICTS:
            raise ValueError(f"the judge's verdict {verdict!r:.80} is none of {', '.join(VERDICTS)}.")
        return VERDICTS[verdict]
