"""Forward and reverse KL, each as much as head and tail of the teacher are still missed.

    D = w KL(teacher || student) + (1 - w) KL(student || teacher),   w = g_head / (g_head + g_tail)
    g = sum of |teacher - student| over the head or the tail

The head are the teacher's likeliest entries, of together at most a share of its probability, and always the first. No
entry is sorted: the probability that an entry of the head must have is found for every token by halving, 31 times, the
float32 numbers that it could be, each time adding up what lies above. That is exact, and needs no more than sums over
the vocabulary, so that the chunked head computes it in its own pass and over a vocabulary that is cut.

Differs from the authors' code: entries of the same probability are in the head together or not at all, where a sort
takes some of them; and w is 1/2 where both distributions are the same, where that code divides by 0.

Source: Wu et al. 2024 (AKL, arXiv:2404.02657), and the authors' code.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.losses import generator

Total = Callable[[Float[Array, "*shape v"]], Float[Array, "*shape"]]
"""A sum over the vocabulary, of all devices that hold a part of it."""

LARGEST = 0x7F7FFFFF
"""The bits of the largest float32."""


@dataclasses.dataclass(frozen=True)
class AKL:
    """The equation above, the student being p: a `comparison.ByToken`, for `GKD` and wherever a divergence is asked."""

    mass: float = 0.5
    """Of the teacher's probability that the head has at most (mu)."""

    def __post_init__(self):
        generator.check_share("mass", self.mass)

    def look(
        self, log_p: Float[Array, "*shape v"], log_q: Float[Array, "*shape v"], total: Total
    ) -> Float[Array, "*shape"]:
        """w of each token; no gradient flows."""
        log_p, log_q = jax.lax.stop_gradient((log_p, log_q))
        gaps = jnp.abs(generator.difference(log_p, log_q))
        missed, whole = total(jnp.where(in_head(log_q, self.mass, total), gaps, 0)), total(gaps)
        return jnp.where(whole > 0, missed / jnp.where(whole > 0, whole, 1), 0.5)

    def at(self, found: Float[Array, "*shape"]) -> "Both":
        """The two divergences, weighed so."""
        return Both(found)


@dataclasses.dataclass(frozen=True)
class Both:
    """w KL(q || p) + (1 - w) KL(p || q), w being held still."""

    share: Float[Array, "*shape"]
    """w, of each token."""

    def terms(self, log_p: Float[Array, "*shape v"], log_q: Float[Array, "*shape v"]) -> Float[Array, "*shape v"]:
        """Of each entry."""
        forward, reverse = (x.terms(log_p, log_q) for x in (generator.ForwardKL(), generator.ReverseKL()))
        return self.share[..., None] * forward + (1 - self.share[..., None]) * reverse

    def slopes(self, log_p: Float[Array, "*shape v"], log_q: Float[Array, "*shape v"]) -> Float[Array, "*shape v"]:
        """d terms / d log p."""
        forward, reverse = (x.slopes(log_p, log_q) for x in (generator.ForwardKL(), generator.ReverseKL()))
        return self.share[..., None] * forward + (1 - self.share[..., None]) * reverse


def in_head(log_q: Float[Array, "*shape v"], mass: float, total: Total) -> Bool[Array, "*shape v"]:
    """True on the likeliest entries that have together at most `mass`, or else on the likeliest alone.

    Args:
        log_q: log-probabilities of the teacher, in nats.
        mass: between 0 and 1.
        total: sums over the vocabulary.
    """

    def within(bits: Int[Array, "*shape"]) -> Bool[Array, "*shape v"]:
        return -log_q <= jax.lax.bitcast_convert_type(bits, jnp.float32)[..., None].astype(log_q.dtype)

    def halve(_, ends):
        low, high = ends
        middle = low + (high - low) // 2
        over = total(jnp.where(within(middle), jnp.exp(log_q), 0)) > mass
        return jnp.where(over, low, middle), jnp.where(over, middle, high)

    # Of positive numbers the bits are in the order of the numbers; -1 is no number, and nothing is within it.
    start = jnp.zeros_like(total(log_q), dtype=jnp.int32)
    low, high = jax.lax.fori_loop(0, 31, halve, (start - 1, start + LARGEST))
    some = total(within(low).astype(log_q.dtype)) > 0
    return within(jnp.where(some, low, high))
