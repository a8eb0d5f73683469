"""Which prompts to draw more often, from the completions they got. On the host.

Source: Leng et al. 2025 (MMR1, variance-aware sampling, arXiv:2509.21268).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def variance(rates: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """The variance of a reward that is 0 or 1: p (1 - p). A small step gains at least in proportion to it."""
    return rates * (1 - rates)


def diversity(completions: Sequence[Sequence[int]], *, n: int = 3) -> float:
    """Distinct n-grams of tokens over all n-grams of a prompt's completions: between 0 and 1; 0 where there is none."""
    grams = [tuple(tokens[i : i + n]) for tokens in completions for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / max(len(grams), 1)


def score(
    rates: Float[np.ndarray, "D"], diversities: Float[np.ndarray, "D"], *, alpha: float = 0.8, beta: float = 0.2
) -> Float[np.ndarray, "D"]:
    """alpha `variance` + beta `diversity` of every prompt of the data."""
    return alpha * variance(rates) + beta * diversities


def normalized(scores: Float[np.ndarray, "D"]) -> Float[np.ndarray, "D"]:
    """Between 0 and 1 over the data, (v - min) / (max - min + 1e-8): the worst prompt is then drawn uniformly alone."""
    return (scores - scores.min()) / (scores.max() - scores.min() + 1e-8)


def follow(
    old: Float[np.ndarray, "D"], new: Float[np.ndarray, "D"], *, momentum: float = 0.0
) -> Float[np.ndarray, "D"]:
    """Scores after an update: momentum old + (1 - momentum) new."""
    return momentum * old + (1 - momentum) * new


def draw(
    scores: Float[np.ndarray, "D"],
    uniform: Int[np.ndarray, "B"],
    generator: np.random.Generator,
    *,
    share: float = 0.5,
) -> Int[np.ndarray, "B"]:
    """Indices of a batch of B prompts: floor(share B) drawn with replacement in proportion to their score.

    The rest are the first of `uniform`. Where all scores are 0, those are drawn alike.

    Args:
        scores: not negative, one for every prompt of the data.
        uniform: the next prompts of a shuffled pass over the data.
        generator: advanced.
        share: lambda, of the batch; 0 takes the shuffled pass.

    Raises:
        ValueError: the share is none, or a score is negative.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} of a batch must lie between 0 and 1.")
    if not np.all(scores >= 0):
        raise ValueError(f"the lowest score is {scores.min()}: scores must not be negative.")
    count = int(np.floor(share * len(uniform)))
    weights = scores if scores.sum() > 0 else np.ones_like(scores)
    drawn = generator.choice(len(scores), size=count, p=weights / weights.sum())
    return np.concatenate([drawn, uniform[: len(uniform) - count]])
