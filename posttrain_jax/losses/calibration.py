"""How far the probabilities of a classifier of pairs can be believed: reliability table and calibration error.

A pair is a probability p that its first member is preferred, and whether it was. Turned over, a pair is (1 - p, not),
so that of pairs with a known winner each counts as its more confident side: p >= 1/2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked


class Reliability(NamedTuple):
    """Of `bins` equal intervals of confidence from 1/2 to 1."""

    counts: Float[Array, "b"]
    confidence: Float[Array, "b"]
    """Mean confidence of the pairs of the bin; 0 of an empty one."""
    accuracy: Float[Array, "b"]
    """Share of them that the model gets right; a tie is half right."""


def reliability(margins: Float[Array, "N"], *, bins: int = 10) -> Reliability:
    """How often a model is right, by how sure it is.

    Args:
        margins: reward of the preferred less that of the other, in nats: sigmoid(|m|) is the confidence, m > 0 right.
        bins: of equal width.
    """
    confidence = jax.nn.sigmoid(jnp.abs(margins))
    right = (jnp.sign(margins) + 1) / 2
    place = jnp.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    member = place[None] == jnp.arange(bins)[:, None]
    spread = [jnp.broadcast_to(x[None], member.shape) for x in (confidence, right)]
    return Reliability(jnp.sum(member, axis=1).astype(margins.dtype), *(masked.mean(x, member, axis=1) for x in spread))


def expected_error(table: Reliability) -> Float[Array, ""]:
    """sum_b (n_b / N) |accuracy_b - confidence_b|.

    Source: Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599, eq. 3.
    """
    gaps = jnp.abs(table.accuracy - table.confidence)
    return jnp.sum(table.counts * gaps) / jnp.maximum(jnp.sum(table.counts), 1)


def temperature(margins: Float[Array, "N"], *, steps: int = 60) -> Float[Array, ""]:
    """The tau > 0 for which margins / tau have the largest likelihood: what calibrates without reordering anything.

    Bisection on the slope of sum -log sigmoid(a m) in a = 1 / tau, which is convex; held between 1/1000 and 1000.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """

    def halve(_, ends):
        middle = (ends[0] + ends[1]) / 2  # of log a
        falling = jnp.sum(margins * jax.nn.sigmoid(-jnp.exp(middle) * margins)) > 0
        return jnp.where(falling, middle, ends[0]), jnp.where(falling, ends[1], middle)

    edge = jnp.log(jnp.asarray(1e3, margins.dtype))
    return jnp.exp(-jax.lax.fori_loop(0, steps, halve, (-edge, edge))[0])
