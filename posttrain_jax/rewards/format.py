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
class Tags:
    """The share of checks that pass: every tag opens and closes exactly once, around something, and in this order.

    Three checks a tag (there once, closed behind its opening, behind the tag before it). 1 is all of them.
    """

    names: tuple[str, ...]
    """In the order in which they must come: `("step", "answer")`."""
    prefix: str = ""

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1]."""
        text, end, passed = self.prefix + sample.completion, 0, 0
        for name in self.names:
            opening, closing = f"<{name}>", f"</{name}>"
            start, close = text.find(opening), text.find(closing)
            passed += text.count(opening) == 1 and text.count(closing) == 1
            passed += 0 <= start < close
            passed += start >= end and close >= 0
            end = max(end, close)
        return passed / (3 * len(self.names))


@dataclasses.dataclass(frozen=True)
class Skipped:
    """1 where the thought is there and empty, else 0: weigh it 0 to see how often the policy does not think.

    Source: TON 2025 (arXiv:2505.16854), whose policies learn when to.
    """

    prefix: str = ""

    def __call__(self, sample: samples.Sample) -> float:
        """1 or 0."""
        found = re.match(r"\s*<think>(.*?)</think>", self.prefix + sample.completion, re.DOTALL)
        return float(found is not None and not found.group(1).strip())


@dataclasses.dataclass(frozen=True)
class Ending:
    """1 where the stripped text ends with what the regular expression `pattern` describes, else 0."""

    pattern: str

    def __call__(self, sample: samples.Sample) -> float:
        """1 or 0."""
        return float(re.search(rf"(?:{self.pattern})\Z", sample.completion.strip()) is not None)
