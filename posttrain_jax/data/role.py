"""Demonstrations that argue from several roles, for questions on which people differ.

Questions are answered from a few contrasting roles; of each role's samples the trace of the majority answer is kept;
the traces are put one behind the other in an order of their own, and what is far too short or too long is left out. SFT
on them comes before policy gradient with `rewards.diversity`.

Source: MultiRole-R1 (Wang et al. 2025, arXiv:2507.20187), the data stage.
"""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from posttrain_jax.data import source


def shares(
    relevances: Float[np.ndarray, "R"], embeddings: Float[np.ndarray, "R d"], *, contrast: float
) -> Float[np.ndarray, "R"]:
    """P(i) = softmax_i(relevance_i + contrast mean_{j != i} (1 - cos(h_i, h_j))): roles that matter and differ.

    Args:
        relevances: how much each role has to say to the question, in nats.
        embeddings: h, of the roles.
        contrast: alpha; the paper gives none.
    """
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = (embeddings / norms) @ (embeddings / norms).T
    apart = np.sum(1 - cosines, axis=1) / max(len(relevances) - 1, 1)  # a role is at 0 from itself
    scores = relevances + contrast * apart
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def draw(shares: Float[np.ndarray, "R"], count: int, index: int, *, seed: int) -> list[int]:
    """Different roles for the row `index`, drawn one after the other in proportion to their shares."""
    if not 1 <= count <= len(shares):
        raise ValueError(f"{count} roles cannot be drawn from {len(shares)}: ask for 1 to {len(shares)}.")
    drawn = np.random.default_rng([seed, index]).choice(len(shares), size=count, replace=False, p=shares)
    return [int(place) for place in drawn]


class Trace(NamedTuple):
    """One sample from a role's perspective."""

    role: str
    text: str
    answer: str


def majority(samples: Sequence[Trace]) -> Trace | None:
    """Of one role's samples the first that has the answer which most of them have; None of no sample.

    Among equally frequent answers the one that came first wins.
    """
    answers = [one.answer for one in samples]
    winner = max(dict.fromkeys(answers), key=answers.count, default=None)
    return next((one for one in samples if one.answer == winner), None)


def joined(prompt: str, traces: Sequence[Trace], index: int, *, seed: int) -> source.Row:
    """A demonstration of all traces, in an order that depends on the row's number and the seed alone.

    `prompt` and `completion`; `roles` and `answers` in the order in which they speak.
    """
    order = list(traces)
    random.Random(f"{seed} {index}").shuffle(order)
    first, *others = order
    text = f"From {first.role}'s perspective: {first.text}"
    text += "".join(f"\n\nWait, from {one.role}'s perspective: {one.text}" for one in others)
    return {
        "prompt": prompt,
        "completion": text,
        "roles": [one.role for one in order],
        "answers": [one.answer for one in order],
    }


def middle(rows: Sequence[source.Row], lengths: Sequence[int], *, cut: float = 0.1) -> list[source.Row]:
    """The rows without the shortest and the longest share `cut` of them, in their order.

    Args:
        rows: demonstrations.
        lengths: of each, in any unit.
        cut: share at either end, rounded down to rows; below a half.
    """
    if not 0 <= cut < 0.5:
        raise ValueError(f"cut={cut} leaves nothing in the middle: take a share from 0 to below 0.5.")
    count = math.floor(cut * len(rows))
    order = sorted(range(len(rows)), key=lambda place: (lengths[place], place))
    kept = sorted(order[count : len(order) - count])
    return [rows[place] for place in kept]
