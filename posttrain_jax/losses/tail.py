"""Teachers of whom only the k likeliest entries are stored: what takes the place of the rest.

Log-probabilities, [..., k], are of the whole vocabulary, those of the student at the teacher's ids and at the teacher's
temperature. Then `divergence.exact(divergence, student, teacher)` of what `bucketed` gives is the divergence of the two
distributions over k entries and one bucket of all others: by data processing never more than the whole divergence, the
same at k = V - 1 and k = V. Of the entries alone, without bucket, it is another lower bound, of a divergence in the
gauge f(1) = f'(1) = 0: it says nothing of where the rest of the probability goes.

Source: bucket and renormalised form are those of TRL; the lower bounds are derived (Csiszar 1967).
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison
from posttrain_jax.losses import divergence

SMALLEST = 1e-7
"""The probability left to the bucket where rounding leaves none; no gradient then."""


def bucketed(log_probs: Float[Array, "*shape k"]) -> Float[Array, "*shape outcomes"]:
    """The k entries, and behind them log(1 - sum of their probabilities).

    Differentiable, for the student's side.
    """
    kept = jnp.minimum(jax.nn.logsumexp(log_probs, axis=-1, keepdims=True), -SMALLEST)
    return jnp.concatenate([log_probs, jnp.log(-jnp.expm1(kept))], axis=-1)


def renormalized(log_probs: Float[Array, "*shape k"]) -> Float[Array, "*shape k"]:
    """The k entries as if there were no others.

    It teaches nothing of the rest, and at k = 1 nothing at all: for comparison with those who do it.
    """
    return jax.nn.log_softmax(log_probs, axis=-1)


@dataclasses.dataclass(frozen=True)
class Bucketed:
    """D over the k entries and one bucket of all others: never more than D over the vocabulary."""

    divergence: comparison.Divergence | comparison.ByToken
    """Of the student p from the teacher q."""

    def __call__(self, log_p: Float[Array, "*shape k"], log_q: Float[Array, "*shape k"]) -> Float[Array, "*shape"]:
        """In nats."""
        return divergence.exact(self.divergence, bucketed(log_p), bucketed(log_q))


@dataclasses.dataclass(frozen=True)
class Renormalized:
    """D over the k entries as if there were no others: see `renormalized`."""

    divergence: comparison.Divergence | comparison.ByToken
    """Of the student p from the teacher q."""

    def __call__(self, log_p: Float[Array, "*shape k"], log_q: Float[Array, "*shape k"]) -> Float[Array, "*shape"]:
        """In nats."""
        return divergence.exact(self.divergence, renormalized(log_p), renormalized(log_q))


@dataclasses.dataclass(frozen=True)
class Entries:
    """The terms q f(p / q) of the k entries and nothing else; of the forward KL q log(q / p) - q + p (Bregman).

    Never negative, and never more than D over the vocabulary.
    """

    divergence: comparison.Divergence
    """Of the student p from the teacher q, in the gauge f(1) = f'(1) = 0, as all of `losses.generator` are."""

    def __call__(self, log_p: Float[Array, "*shape k"], log_q: Float[Array, "*shape k"]) -> Float[Array, "*shape"]:
        """In nats."""
        return divergence.exact(self.divergence, log_p, log_q)


@dataclasses.dataclass(frozen=True)
class Partial:
    """sum q log(q / p) over the k entries: the forward KL's signed terms, as sparse teachers are often learned from.

    It can be negative, and is least where the student gives the k entries q / sum(q) and all others nothing: like
    `Renormalized` it teaches to be surer than the teacher. For comparison with those who do it.
    """

    def __call__(self, log_p: Float[Array, "*shape k"], log_q: Float[Array, "*shape k"]) -> Float[Array, "*shape"]:
        """In nats."""
        return jnp.sum(jnp.exp(log_q) * (log_q - log_p), axis=-1)
