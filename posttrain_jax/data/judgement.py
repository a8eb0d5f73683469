"""Training judges, and letting judges choose what is trained on."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from posttrain_jax.data import source


class Pair(NamedTuple):
    """A question to a judge about two answers, in an order drawn at random."""

    prompt: str
    answer: str
    """What a right judgement says: "Answer 1 is better" or "Answer 2 is better"."""


def pair(prompt: str, chosen: str, rejected: str, index: int, *, seed: int) -> Pair:
    """The two answers in an order that depends on row and seed alone: a judge cannot learn where the better one stands.

    Source: UnifiedReward-Think (Wang et al. 2025, arXiv:2505.03318).
    """
    first = random.Random(f"{seed} {index}").random() < 0.5
    one, two = (chosen, rejected) if first else (rejected, chosen)
    text = f"{prompt}\n\nAnswer 1:\n{one}\n\nAnswer 2:\n{two}\n\nWhich answer is better? Think in <think></think>, then"
    text += " write <answer>Answer 1 is better</answer> or <answer>Answer 2 is better</answer>."
    return Pair(text, f"Answer {1 if first else 2} is better")


class Routed(NamedTuple):
    """Rows by what a judge made of them."""

    imitate: list[source.Row]
    """Judged rightly: for SFT on these judgements (rejection sampling)."""
    explore: list[source.Row]
    """Judged wrongly: for policy gradient."""


def route(rows: Sequence[source.Row], right: Callable[[source.Row], bool]) -> Routed:
    """Each row to one of the two.

    Source: UnifiedReward-Think (Wang et al. 2025, arXiv:2505.03318), stages 2 and 3.
    """
    flags = [right(row) for row in rows]
    pairs = list(zip(rows, flags, strict=True))
    return Routed([row for row, flag in pairs if flag], [row for row, flag in pairs if not flag])


class Selected(NamedTuple):
    """Rows by how an answer was scored before and after the judge's reflection."""

    demonstrations: list[source.Row]
    """Good at once: for SFT."""
    prompts: list[source.Row]
    """Still bad: for policy gradient."""
    preferences: list[source.Row]
    """Better after reflection: the later answer is chosen, the earlier rejected."""


def select(
    rows: Sequence[source.Row],
    scores: Sequence[tuple[float, float]],
    *,
    high: float,
    low: float,
) -> Selected:
    """Rows to train on; one may be of several kinds.

    Args:
        rows: with their answers.
        scores: of each row's answer before and after reflection, in [0, 1].
        high: answers at or above this, before reflection, are demonstrations.
        low: prompts whose later answer lies below this are worth exploring (the paper's 5 of 10).

    Source: ReAgent-V (Zhou et al. 2025, arXiv:2506.01300).
    """
    known = list(zip(rows, scores, strict=True))
    return Selected(
        [row for row, (before, _) in known if before >= high],
        [row for row, (_, after) in known if after < low],
        [row for row, (before, after) in known if after > before],
    )
