"""Scales of completions that are right or wrong, of their divergence and of their advantages.

Source: View-R1 2025 (APO, arXiv:2506.21655), as in the authors' code.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.losses import group


def ease(difficulties: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """What the divergence of good completions weighs: 1 - exp(-e (1 - d)), e Euler's number; 1 at d = 0 and d = 1.

    Args:
        difficulties: share of wrong completions of the group.
    """
    inside = (difficulties > 0) & (difficulties < 1)
    return jnp.where(inside, -jnp.expm1(-jnp.e * (1 - difficulties)), 1)


def overthinking(
    lengths: Int[Array, "P G"],
    correct: Bool[Array, "P G"],
    scored: Bool[Array, "P G"],
    group_ids: Int[Array, "P"],
    *,
    base: float,
) -> Float[Array, "P G"]:
    """Scales of advantages: 2 - base^-(n - n_correct) of wrong completions longer than the correct ones are on average.

    1 of all others, also in groups without a correct one; below 2 always, so that no sign changes.

    Args:
        lengths: n, in tokens.
        correct: which completions are.
        scored: which could be told.
        group_ids: equal on the rows of one group.
        base: above 1; how fast the scale grows with the excess.
    """
    tokens, right = lengths.astype(jnp.float32), correct.astype(jnp.float32)
    count = group.total(right, group_ids)
    mean = group.total(right * tokens, group_ids) / jnp.maximum(count, 1)
    excess = tokens - mean[:, None]
    counts = scored & ~correct & (count > 0)[:, None] & (excess > 0)
    return jnp.where(counts, 2 - jnp.exp(-jnp.where(counts, excess, 0) * math.log(base)), 1)
