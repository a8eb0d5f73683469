"""Which prompts to draw more often, from the completions they got. On the host.

Source: Leng et al. 2025 (MMR1, variance-aware sampling, arXiv:2509.21268).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from posttrain_jax.rollout import selection


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


def draw(scores: Float[np.ndarray, "D"], count: int, generator: np.random.Generator) -> Int[np.ndarray, "{count}"]:
    """Indices drawn with replacement in proportion to the scores; where all are 0, drawn alike.

    Args:
        scores: not negative, one for every prompt of the data.
        count: how many.
        generator: advanced.

    Raises:
        ValueError: a score is negative.
    """
    if not np.all(scores >= 0):
        raise ValueError(f"the lowest score is {scores.min()}: scores must not be negative.")
    weights = (scores if scores.sum() > 0 else np.ones_like(scores)).astype(np.float64)
    return generator.choice(len(scores), size=count, p=weights / weights.sum())


@dataclasses.dataclass(frozen=True)
class VarianceAware:
    """Variance-aware sampling: a share of every batch is drawn in proportion to the prompts' scores.

    Differs from the paper: success rates and diversities are those of the completions that training draws, not of
    passes of their own over the data; a prompt that was not asked yet counts as one of rate 1/2 and diversity 1.

    Source: Leng et al. 2025 (MMR1, arXiv:2509.21268), and the authors' code.
    """

    share: float = 0.5
    """Of the batch that is drawn by score, with replacement (lambda)."""
    alpha: float = 0.8
    """Weight of the variance."""
    beta: float = 0.2
    """Weight of the diversity; 0 counts none, which saves its time on the host."""
    every: int = 4
    """Steps between refreshes of the scores (T_update)."""
    momentum: float = 0.0
    """Of the scores."""
    above: float = 0.5
    """A reward above this is a success."""
    column: str | None = None
    """The reward that counts; None for the weighted sum."""
    seed: int = 0
    """Of the draws."""

    def __post_init__(self):
        if not 0 <= self.share <= 1 or self.every < 1 or not 0 <= self.momentum < 1:
            raise ValueError(
                f"share={self.share} must lie between 0 and 1, every={self.every} be at least 1 step, and"
                f" momentum={self.momentum} lie between 0 and 1, 1 excluded."
            )

    def init_memory(self, prompts: int) -> selection.Memory:
        """Of every prompt: success rate, diversity, and the score by which it is drawn."""
        ones = np.ones(prompts, np.float32)
        return {"rates": ones / 2, "diversities": ones, "scores": ones}

    def collect(self, memory: selection.Memory, ask: selection.Ask) -> tuple[selection.Found, selection.Memory]:
        """One round."""
        scores = memory["scores"]
        if ask.step % self.every == 0 and ask.round == 0:
            new = normalized(score(memory["rates"], memory["diversities"], alpha=self.alpha, beta=self.beta))
            scores = follow(scores, new, momentum=self.momentum)
        count = int(np.floor(self.share * ask.rows))
        drawn = draw(scores, count, np.random.default_rng([self.seed, ask.step, ask.round]))
        found = ask(np.concatenate([drawn, ask.fresh(ask.rows - count)]))
        places, rates = selection.success_rates(found, above=self.above, column=self.column)
        diversities = memory["diversities"]
        if self.beta > 0:
            spread = [diversity(found.completions(place)) for place in places.tolist()]
            diversities = selection.updated(diversities, places, np.asarray(spread, np.float32))
        rates = selection.updated(memory["rates"], places, rates)
        return found, {"rates": rates, "diversities": diversities, "scores": scores}
