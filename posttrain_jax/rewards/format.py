"""Does the completion keep to the form that was asked for?

Each reward has a `prefix`: what the chat template already put into the prompt (for instance an opening think tag),
which is read as the completion's beginning.
"""

import dataclasses
import re

from posttrain_jax.rewards import sample as samples

THINK = re.compile(r"<think>(?!.*<think>)(.*?)</think>.*", re.DOTALL)
THINK_ANSWER = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)
TAGS = ("<think>", "</think>", "<answer>", "</answer>")


@dataclasses.dataclass(frozen=True)
class Think:
    """1 where the text begins with one thought `<think>...</think>` (it may be empty) and no second one opens, else 0.

    Source: `think_format_reward` of TRL.
    """

    prefix: str = ""

    def __call__(self, sample: samples.Sample) -> float:
        """1 or 0."""
        return float(THINK.match(self.prefix + sample.completion) is not None)


@dataclasses.dataclass(frozen=True)
class ThinkAnswer:
    """1 where the stripped text is one thought, white space, one answer and nothing else, else 0.

    Each of the four tags must stand there exactly once: the pattern alone would let a second answer pass.

    Source: DeepSeek-R1 (Guo et al. 2025, arXiv:2501.12948, section 2.2.2).
    """

    prefix: str = ""

    def __call__(self, sample: samples.Sample) -> float:
        """1 or 0."""
        text = (self.prefix + sample.completion).strip()
        once = all(text.count(tag) == 1 for tag in TAGS)
        return float(once and THINK_ANSWER.fullmatch(text) is not None)


@dataclasses.dataclass(frozen=True)
class TagCount:
    """A quarter for each think or answer tag that stands in the text exactly once: a slope towards the form."""

    prefix: str = ""

    def __call__(self, sample: samples.Sample) -> float:
        """0, 0.25, 0.5, 0.75 or 1."""
        text = self.prefix + sample.completion
        return sum(text.count(tag) == 1 for tag in TAGS) / len(TAGS)


@dataclasses.dataclass(frozen=True)
class Ending:
    """1 where the stripped text ends with what the regular expression `pattern` describes, else 0."""

    pattern: str

    def __call__(self, sample: samples.Sample) -> float:
        """1 or 0."""
        return float(re.search(rf"(?:{self.pattern})\Z", sample.completion.strip()) is not None)
