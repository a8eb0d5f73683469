"""Token masks from what a network's units say, without parameters and without gradient (MaPO)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def rescaled(activations: Float[Array, "*layers P K T"], mask: Bool[Array, "P K T"]) -> Float[Array, "P K T"]:
    """m = mean over layers of (a - min a) / (max a - min a), extremes over a completion's counted tokens; else 0.

    Args:
        activations: of the reference, averaged over the units of a layer; any number of leading axes is averaged last.
        mask: tokens that count.

    A completion whose activations are all equal (one token) has mask 1. The z-normalisation that the paper applies
    first is affine, so that rescaling undoes it. Source: Christopoulou et al. 2024, arXiv:2410.05102, section 3.2.
    """
    low = jnp.min(jnp.where(mask, activations, jnp.inf), axis=-1, keepdims=True)
    high = jnp.max(jnp.where(mask, activations, -jnp.inf), axis=-1, keepdims=True)
    spread = high > low
    masks = jnp.where(spread, (activations - low) / jnp.where(spread, high - low, 1), 1)
    masks = jnp.mean(masks.reshape(-1, *mask.shape), axis=0)
    return jax.lax.stop_gradient(jnp.where(mask, masks, 0))
