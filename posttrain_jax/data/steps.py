"""Questions of several steps, a prompt each: what was found before is given, so that every step is a group of its own.

Source: R1-Router (Peng et al. 2025, Step-GRPO, arXiv:2505.22095).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Step(NamedTuple):
    """One step of a gold solution: what is asked where, and what is found."""

    query: str
    retriever: str
    found: str


def unroll(question: str, steps: Sequence[Step], answer: str | Sequence[str]) -> list[Mapping[str, Any]]:
    """A row for each step, and one for the answer: `prompt`, `step_type` and what `Routed` rewards compare with.

    The history is the gold one: no step is credited with what follows it, and a policy in use has histories of its own.
    """
    rows: list[Mapping[str, Any]] = []
    history = f"Question: {question}"
    for index, step in enumerate(steps):
        target = {"query": step.query, "retriever": step.retriever}
        rows.append({"prompt": history, "step": index, "step_type": "retrieve", **target})
        history += f"\nAsked of {step.retriever}: {step.query}\nFound: {step.found}"
    return [*rows, {"prompt": history, "step": len(steps), "step_type": "answer", "answer": answer}]


def invert(
    question: str, negated: str, options: Mapping[str, str], right: str, kept: Sequence[str]
) -> Mapping[str, Any]:
    """A question turned round: of its right option and some wrong ones, which are not the answer?

    Args:
        question: as it stands, kept for people.
        negated: the question negated; how to is yours.
        options: by letter.
        right: the letter of the right one.
        kept: letters of the wrong ones that stay, at least one; all of them are right now.

    Source: TW-GRPO (Dang et al. 2025, arXiv:2505.24718), question-answer inversion; it draws the kept ones at random.
    """
    if not kept or right in kept or not set(kept) <= set(options):
        raise ValueError(f"kept={list(kept)} must be wrong options, at least one; {right!r} is the right one.")
    letters = sorted([right, *kept])
    return {
        "prompt": negated + "\n" + "\n".join(f"{letter}. {options[letter]}" for letter in letters),
        "question": question,
        "answer": ",".join(sorted(kept)),
    }
