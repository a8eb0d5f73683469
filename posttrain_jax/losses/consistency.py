"""How sure a model is of answers that were given, compared within groups.

Source: GRPO-CARE 2025 (arXiv:2506.16141), as in the authors' code.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax import masked
from posttrain_jax.losses import group


def likelihood(logps: Float[Array, "P G T"], answer: Bool[Array, "P G T"], *, cap: float) -> Float[Array, "P G"]:
    """min(exp(mean log-probability of the answer's tokens), cap); 0 of a completion without an answer."""
    value = jnp.minimum(jnp.exp(masked.mean(logps, answer, axis=-1)), cap)
    return jnp.where(jnp.any(answer, axis=-1), value, 0)


def bonus(
    likelihoods: Float[Array, "P G"],
    accuracies: Float[Array, "P G"],
    group_ids: Int[Array, "P"],
    *,
    margin: float,
) -> Float[Array, "P G"]:
    """The accuracy of completions that are right and as sure as the right ones of the group are on average, else 0.

    Right is an accuracy above 0.1 and not below the group's mean; as sure is not more than `margin` below the mean.

    Args:
        likelihoods: 0 of completions without an answer, which are never right here.
        accuracies: NaN where scoring failed.
        group_ids: equal on the rows of one group.
        margin: in probability.
    """
    scored = ~jnp.isnan(accuracies)
    value = jnp.where(scored, accuracies, 0)
    counts = jnp.maximum(group.total(scored.astype(value.dtype), group_ids), 1)
    right = scored & (value > 0.1) & (value >= (group.total(value, group_ids) / counts)[:, None]) & (likelihoods > 0)
    rights = group.total(right.astype(value.dtype), group_ids)
    mean = group.total(jnp.where(right, likelihoods, 0), group_ids) / jnp.maximum(rights, 1)
    return jnp.where(right & (likelihoods >= mean[:, None] - margin), value, 0)
