"""How varied is a text: words, sentences, patterns.

Source: MultiRole-R1 (Wang et al. 2025, arXiv:2507.20187), eight scores that count alike. They are gained by rare words
as well as by thought: weigh them lightly (0.1 of the reward there), and gate them by correctness.
"""

import collections
import dataclasses
import itertools
import math
import re
import statistics
from collections.abc import Hashable, Sequence

from posttrain_jax.rewards import sample as samples

SENTENCE = re.compile(r"[^.!?]+[.!?]*")
FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "the",
        "and",
        "or",
        "but",
        "if",
        "so",
        "because",
        "of",
        "in",
        "on",
        "at",
        "to",
        "for",
        "from",
        "by",
        "with",
        "about",
        "as",
        "than",
        "that",
        "this",
        "these",
        "those",
        "it",
        "its",
        "he",
        "she",
        "they",
        "we",
        "you",
        "i",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "has",
        "have",
        "had",
        "do",
        "does",
        "did",
        "not",
        "no",
        "can",
        "could",
        "will",
        "would",
        "should",
        "may",
        "might",
    ]
)


def entropy(items: Sequence[Hashable], classes: int) -> float:
    """Entropy of the items' frequencies over ln(classes); 0 where there is one class."""
    counts = collections.Counter(items)
    shares = [count / len(items) for count in counts.values()]
    return -sum(p * math.log(p) for p in shares) / math.log(classes) if classes > 1 else 0.0


def yule(words: Sequence[str]) -> float:
    """1 / (1 + K), K = 10^4 (sum_r r^2 V_r - N) / N^2, V_r the words that come r times, N all."""
    squares = sum(count * count for count in collections.Counter(words).values())
    return 1 / (1 + 1e4 * (squares - len(words)) / len(words) ** 2)


def distinct(words: Sequence[str], size: int) -> float:
    """Different n-grams over all; 0 of a text without one."""
    grams = [tuple(words[at : at + size]) for at in range(len(words) - size + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def length_variation(sentences: Sequence[Sequence[str]]) -> float:
    """Standard deviation of the sentences' lengths over their mean (population), at most 1; 0 of one sentence."""
    lengths = [len(sentence) for sentence in sentences]
    return min(statistics.pstdev(lengths) / statistics.fmean(lengths), 1.0)


def change(sentences: Sequence[Sequence[str]]) -> float:
    """Mean of 1 - Jaccard overlap of each sentence and the next; 0 of one sentence."""
    pairs = [(set(a), set(b)) for a, b in itertools.pairwise(sentences)]
    return statistics.fmean(1 - len(a & b) / len(a | b) for a, b in pairs) if pairs else 0.0


def pattern(sentence: str) -> str:
    """What kind of sentence it is by its end: asked, exclaimed or stated."""
    return {"?": "asked", "!": "exclaimed"}.get(sentence.strip()[-1:], "stated")


def scores(text: str) -> dict[str, float]:
    """The eight, each in [0, 1]; all 0 of a text without words."""
    sentences = [part for part in SENTENCE.findall(text) if re.search(r"\w", part)]
    by_sentence = [re.findall(r"[\w']+", part.lower()) for part in sentences]
    words = [word for sentence in by_sentence for word in sentence]
    names = ("lexical", "entropy", "length", "pattern", "adjacent", "yule", "distinct", "function")
    if not words:
        return dict.fromkeys(names, 0.0)
    function = [word for word in words if word in FUNCTION_WORDS]
    values = (
        len(set(words)) / len(words),
        entropy(words, len(set(words))),
        length_variation(by_sentence),
        entropy([pattern(part) for part in sentences], 3),
        change(by_sentence),
        yule(words),
        distinct(words, 2),
        entropy(function, len(FUNCTION_WORDS)) if function else 0.0,
    )
    return dict(zip(names, values, strict=True))


@dataclasses.dataclass(frozen=True)
class Diversity:
    """The mean of the eight scores."""

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1]."""
        return statistics.fmean(scores(sample.completion).values())
