"""How much a prompt's advantages weigh, by how far its answers are from a demonstration and from a reward model's aim.

Prompts belong to categories of harm; means are over the prompts of a category in the batch. `shares` say how much of a
prompt a row is: 1, or 1 / n where its group spans n rows, and 0 where nothing is known, which leaves the weight at 1.

Source: Cheng et al. 2025 (DR-IRL, arXiv:2503.18991).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from posttrain_jax.losses import group


def data_hardness(
    similarities: Float[Array, "P"], categories: Int[Array, "P"], shares: Float[Array, "P"]
) -> Float[Array, "P"]:
    """sigmoid(delta) / sigmoid(mean delta), delta = 1 - similarity: above 1 where answers are unlike the demonstration.

    Args:
        similarities: of a prompt's answers to its demonstration (W), between -1 and 1.
        categories: of the prompts.
        shares: as above.
    """
    deltas = jnp.where(shares > 0, 1 - similarities, 0)
    weights = jax.nn.sigmoid(deltas) / jax.nn.sigmoid(_mean(deltas, categories, shares))
    return jax.lax.stop_gradient(jnp.where(shares > 0, weights, 1))


def model_hardness(
    gaps: Float[Array, "P"], categories: Int[Array, "P"], shares: Float[Array, "P"], *, width: float
) -> Float[Array, "P"]:
    """sigmoid(mean of the gaps kept) / sigmoid(mean of all gaps): of a category, kept are those near the mean.

    Args:
        gaps: reward of the demonstration less that of the answers.
        categories: of the prompts.
        shares: as above.
        width: a gap is kept if its squared distance from the mean is at most this (tau); where none is, all are.
    """
    gaps = jnp.where(shares > 0, gaps, 0)
    mean = _mean(gaps, categories, shares)
    kept = jnp.where((gaps - mean) ** 2 <= width, shares, 0)
    some = group.total(kept[:, None], categories) > 0
    inner = jnp.where(some, _mean(gaps, categories, kept), mean)
    return jax.lax.stop_gradient(jnp.where(shares > 0, jax.nn.sigmoid(inner) / jax.nn.sigmoid(mean), 1))


def _mean(x: Float[Array, "P"], categories: Int[Array, "P"], shares: Float[Array, "P"]) -> Float[Array, "P"]:
    total = group.total(shares[:, None], categories)
    return group.total((shares * x)[:, None], categories) / jnp.where(total > 0, total, 1)
