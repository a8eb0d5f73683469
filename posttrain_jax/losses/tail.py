"""Teachers of whom only the k likeliest entries are stored: what takes the place of the rest.

Log-probabilities, [..., k], are of the whole vocabulary, those of the student at the teacher's ids and at the teacher's
temperature. Then `divergence.exact(divergence, student, teacher)` of what `bucketed` gives is the divergence of the two
distributions over k entries and one bucket of all others: by data processing never more than the whole divergence, the
same at k = V - 1 and k = V. Of the entries alone, without bucket, it is another lower bound, of a divergence in the
gauge f(1) = f'(1) = 0: it says nothing of where the rest of the probability goes.

Source: bucket and renormalised form are those of TRL; the lower bounds are derived (Csiszar 1967).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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
