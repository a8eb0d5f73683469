"""Losses of whole rankings: K rewards of a row, best first."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def plackett_luce(rewards: Float[Array, "P K"], present: Bool[Array, "P K"]) -> Float[Array, "P"]:
    """-sum_k [s_k - log sum_{j >= k} exp(s_j)]: the best is picked first, then the best of the rest, and so on.

    With two completions, -log sigmoid(s_1 - s_2). A ranking of fewer than two costs nothing.

    Args:
        rewards: s, in nats, best first.
        present: False where a row has fewer than K completions; such places, wherever they are, are skipped.

    Source: Plackett 1975; Rafailov et al. 2023 (DPO, arXiv:2305.18290), appendix A.3.
    """
    places = jnp.arange(rewards.shape[1])
    # A place always competes with itself, so that an absent one has a finite logarithm to be masked away.
    rivals = (places[None, :] >= places[:, None])[None] & present[:, None, :] | jnp.eye(rewards.shape[1], dtype=bool)[
        None
    ]
    competing = jnp.where(rivals, jnp.broadcast_to(rewards[:, None, :], rivals.shape), -jnp.inf)
    losses = jax.nn.logsumexp(competing, axis=-1) - rewards
    return jnp.sum(jnp.where(present, losses, 0), axis=-1)


def row_weights(mask: Bool[Array, "P K T"]) -> Float[Array, "P"]:
    """Every ranking alike: w = 1 / (rows with at least two completions that have counted tokens), 0 on the others."""
    present = jnp.sum(jnp.any(mask, axis=-1), axis=-1)
    counted = (present >= 2).astype(jnp.float32)
    return counted / jnp.maximum(jnp.sum(counted), 1)
