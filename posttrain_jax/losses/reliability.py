"""How far labels can be believed: expectation maximisation over annotators who are wrong now and then.

p is the probability, by the policy itself, that what was called better is better; eta that of a label of one annotator
being right.

Source: Cao et al. 2025 (arXiv:2509.24159), eq. 4 to 7.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

LOWEST, HIGHEST = 0.5 + 1e-3, 1 - 1e-3
"""The range in which reliabilities are held: at 1/2 labels say nothing, at 1 nothing could change eta again. Ours."""


def posterior(gaps: Float[Array, "P"], reliabilities: Float[Array, "P"]) -> Float[Array, "P"]:
    """w = p eta / (p eta + (1 - p) (1 - eta)), p = sigmoid(g): the probability that the label is right.

    eta = 1/2 gives p, eta = 1 gives 1, g = 0 gives eta. No gradient flows.

    Args:
        gaps: g, the log-odds of p.
        reliabilities: eta of the annotator of each pair.
    """
    log_odds = jnp.log(reliabilities) - jnp.log1p(-reliabilities)
    return jax.lax.stop_gradient(jax.nn.sigmoid(gaps + log_odds))


def follow(
    reliabilities: Float[Array, "A"],
    posteriors: Float[Array, "P"],
    annotators: Int[Array, "P"],
    counted: Bool[Array, "P"],
    *,
    rate: float,
) -> Float[Array, "A"]:
    """(1 - rate) eta + rate mean(w) for annotators with a counted pair in the batch; the others keep theirs.

    Args:
        reliabilities: eta of every annotator.
        posteriors: w of every pair.
        annotators: of each pair, from 0; an id beyond the last is an annotator of no memory.
        counted: pairs that count.
        rate: 1 on the whole data set is the exact maximisation.
    """
    weights = counted.astype(posteriors.dtype)
    size = reliabilities.shape[0]
    total, count = (jax.ops.segment_sum(x, annotators, num_segments=size) for x in (weights * posteriors, weights))
    moved = reliabilities + rate * (total / jnp.maximum(count, 1) - reliabilities)
    return jnp.where(count > 0, jnp.clip(moved, LOWEST, HIGHEST), reliabilities)
