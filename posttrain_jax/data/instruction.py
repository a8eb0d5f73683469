"""Instructions that a rule can check, written for a given answer: prompts that it keeps, and prompts that it breaks.

MAPL's data: one answer under two prompts, of which it keeps all instructions of the first and breaks one of the second.

Source: Sun et al. 2025 (arXiv:2505.12845), section on data; the rules and their words are ours.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from posttrain_jax.data import context, encode, fields


@runtime_checkable
class Rule(Protocol):
    """A kind of instruction."""

    def __call__(self, answer: str, kept: bool, draw: np.random.Generator, /) -> str:
        """An instruction that the answer keeps, or one that it breaks."""
        ...


@dataclasses.dataclass(frozen=True)
class WordCount:
    """At least or at most so many words."""

    slack: int = 5
    """How far at most the limit lies from the number of words, at least by one word where it is broken."""

    def __call__(self, answer: str, kept: bool, draw: np.random.Generator, /) -> str:
        """An instruction about the answer's length."""
        words, distance = len(answer.split()), int(draw.integers(1, self.slack + 1))
        more = bool(draw.integers(2)) or (not kept and words <= distance)
        limit = words - distance if more == kept else words + distance
        return f"Use at {'least' if more else 'most'} {max(limit, 1)} words."


@dataclasses.dataclass(frozen=True)
class Keyword:
    """A word of the answer that must stand in it, or must not."""

    def __call__(self, answer: str, kept: bool, draw: np.random.Generator, /) -> str:
        """An instruction about one word."""
        words = sorted({word.strip(".,;:!?()\"'") for word in answer.split()} - {""})
        if not words:
            raise ValueError(f"the answer {answer!r:.40} has no word to ask for.")
        word = words[int(draw.integers(len(words)))]
        return f'{"Use" if kept else "Do not use"} the word "{word}".'


@dataclasses.dataclass(frozen=True)
class Lines:
    """How many lines there are."""

    def __call__(self, answer: str, kept: bool, draw: np.random.Generator, /) -> str:
        """An instruction about the answer's lines."""
        lines = len(answer.strip().splitlines()) + (0 if kept else int(draw.integers(1, 4)))
        return f"Write exactly {lines} line{'s' if lines != 1 else ''}."


RULES = (WordCount(), Keyword(), Lines())
"""All of them."""


def prompts(prompt: str, answer: str, draw: np.random.Generator, rules: Sequence[Rule] = RULES) -> tuple[str, str]:
    """The prompt with instructions of some rules added: all kept by the answer, and with one of them broken."""
    count = int(draw.integers(1, len(rules) + 1))
    chosen = [rules[index] for index in draw.permutation(len(rules))[:count]]
    kept = [rule(answer, True, draw) for rule in chosen]
    broken = [chosen[0](answer, False, draw), *kept[1:]]
    return "\n".join([prompt, *kept]), "\n".join([prompt, *broken])


def row(
    index: int, preference: fields.Preference, words: encode.Tokenizer, *, seed: int, rules: Sequence[Rule] = RULES
) -> encode.TokenRow:
    """The row of `MAPL`: the pair, each answer under a prompt that it keeps and one that it breaks, the pair once more.

    The last pair follows instructions that the chosen answer keeps; those that the rejected one keeps too stay in.

    Args:
        index: of the source row; with `seed` it decides which instructions are drawn.
        preference: with a prompt of text.
        words: the tokenizer.
        seed: of the run.
        rules: to draw from.
    """
    if not isinstance(preference.prompt, str):
        raise ValueError("instructions are added to text: render the messages first.")
    draw = np.random.default_rng([seed, index])
    plain, chosen, rejected = preference.prompt, preference.chosen, preference.rejected
    keeps, breaks = prompts(plain, chosen, draw, rules)
    other_keeps, other_breaks = prompts(plain, rejected, draw, rules)
    places = [(plain, chosen), (plain, rejected), (keeps, chosen), (breaks, chosen)]
    places += [(other_keeps, rejected), (other_breaks, rejected), (keeps, chosen), (keeps, rejected)]
    parts = [(words.render_prompt(text), words.render_completion(answer)) for text, answer in places]
    return context.join(index, parts)
