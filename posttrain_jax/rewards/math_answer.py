"""Is the answer mathematically equal to the gold answer? (math-verify: extract, normalise, parse, compare.)"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import math_verify

from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples

Target = math_verify.LatexExtractionConfig | math_verify.ExprExtractionConfig | math_verify.StringExtractionConfig

ANYWHERE: tuple[Target, ...] = (math_verify.LatexExtractionConfig(), math_verify.ExprExtractionConfig())
"""LaTeX between dollars or boxed, or a plain expression, wherever it stands; the last of the best-anchored wins."""

BOXED: tuple[Target, ...] = (
    math_verify.LatexExtractionConfig(boxed_match_priority=0, try_extract_without_anchor=False),
)
"""LaTeX that is boxed or announced ("the final answer is"): what math-verify advises for reinforcement learning."""


def as_latex(answer: str) -> str:
    """The gold answer between dollars, as the MATH data set needs (its answers are bare LaTeX)."""
    return f"${answer}$"


# Time is bounded by killing the worker: math-verify's own limits are alarms, which only work in a main thread.
@functools.lru_cache(maxsize=4096)
def _parse_gold(text: str, targets: tuple[Target, ...]) -> list:
    return math_verify.parse(text, targets, parsing_timeout=0)


def same(first: str, second: str) -> bool:
    """Whether math-verify finds two bare LaTeX answers equal, the first as gold: for votes. Unreadable ones are not."""
    gold, answer = (_parse_gold(as_latex(text), ANYWHERE) for text in (first, second))
    return bool(gold and answer) and math_verify.verify(gold, answer, timeout_seconds=0, raise_on_error=True)


@dataclasses.dataclass(frozen=True)
class MathAnswer:
    r"""1 where math-verify finds the answer equal to the gold answer, else 0.

    Gold that cannot be parsed gives NaN, an answer that cannot be parsed 0. The comparison is not symmetric (x = 5
    against 5) and lenient in places ("50" equals "50\%"); two boxes are read as a set. It may run for minutes on
    hostile input: use it in a `RewardPool`, whose `timeout_s` kills.

    Source: https://github.com/huggingface/Math-Verify, version 0.9.0.
    """

    gold: Callable[[str], str | None] = as_latex
    """From the example's answer to parsable text; None gives NaN. `extract.after_hashes` reads GSM8K's answers."""
    extract: extracts.Extract = extracts.whole
    """From the completion to the text that is searched; None gives 0."""
    targets: Sequence[Target] = ANYWHERE
    """What is looked for in the completion: `ANYWHERE`, `BOXED`, or math-verify's own configs."""
    answer_field: str = "answer"

    def __call__(self, sample: samples.Sample) -> float:
        """1, 0 or NaN."""
        text = self.gold(str(samples.field(sample, self.answer_field)))
        gold = [] if text is None else _parse_gold(text, ANYWHERE)
        if not gold:
            return math.nan
        searched = self.extract(sample.completion)
        answer = [] if searched is None else math_verify.parse(searched, self.targets, parsing_timeout=0)
        return float(bool(answer) and math_verify.verify(gold, answer, timeout_seconds=0, raise_on_error=True))
