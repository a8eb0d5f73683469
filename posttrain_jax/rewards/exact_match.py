"""Is the answer the gold answer, letter for letter after a stated normalisation?"""

import dataclasses
import math
import re
import string
from collections.abc import Callable

from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples

PUNCTUATION = str.maketrans("", "", string.punctuation)


def strip(text: str) -> str:
    """Without surrounding white space."""
    return text.strip()


def plain_words(text: str) -> str:
    """Lower case, without punctuation, without the articles a, an, the, single spaces (the SQuAD normalisation).

    Source: SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250), evaluation script v1.1.
    """
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(PUNCTUATION)).split())


@dataclasses.dataclass(frozen=True)
class ExactMatch:
    """1 where the extracted answer equals the gold answer (or any of a list of them), else 0.

    Gold that is empty after normalisation gives NaN: there is nothing to compare with. No answer found gives 0.
    """

    extract: extracts.Extract = extracts.whole
    normalise: Callable[[str], str] = strip
    """Applied to both sides."""
    answer_field: str = "answer"

    def __call__(self, sample: samples.Sample) -> float:
        """1, 0 or NaN."""
        answers = samples.field(sample, self.answer_field)
        answers = [answers] if isinstance(answers, str) else answers
        golds = {self.normalise(gold) for gold in answers} - {""}
        if not golds:
            return math.nan
        answer = self.extract(sample.completion)
        return float(answer is not None and self.normalise(answer) in golds)
