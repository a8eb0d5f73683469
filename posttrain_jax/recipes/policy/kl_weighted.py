"""A divergence from the reference whose weight is decided in credit, beside the loss of a recipe that has none."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import divergence

WEIGHTS = "kl_weights"
"""Their name in the batch's `extra`."""


def check(recipe: types.OnlineRecipe) -> None:
    """Refuse a held recipe that weighs a divergence itself."""
    if recipe.needs_ref:
        raise ValueError(f"{type(recipe).__name__} weighs a divergence itself: set its kl_coef to 0.")


def credit(batch: types.PolicyBatch, weights: Float[Array, "P G T"]) -> types.PolicyBatch:
    """The batch with what the divergence of each token weighs."""
    return dataclasses.replace(batch, extra={**batch.extra, WEIGHTS: weights})


def loss(
    recipe: types.Loss, policy: types.TokenStats, batch: types.PolicyBatch
) -> tuple[Float[Array, ""], types.Metrics]:
    """The recipe's + sum weights (e^d - d - 1), d = log pi_ref / pi.

    Raises:
        ValueError: the batch has no `ref_logps`.
    """
    if batch.ref_logps is None:
        raise ValueError("the divergence has a weight and needs a reference: give ref_logps.")
    extra = {name: x for name, x in batch.extra.items() if name != WEIGHTS}
    rest, metrics = recipe.loss(policy, dataclasses.replace(batch, extra=extra))
    kl = divergence.k3_loss(policy.logps, batch.ref_logps)
    return rest + jnp.sum(batch.extra[WEIGHTS] * kl), {**metrics, "kl": kl}
