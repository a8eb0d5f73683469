"""Losses of whole rankings: K rewards of a row, best first."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import masked


def plackett_luce(
    rewards: Float[Array, "P K"], present: Bool[Array, "P K"], *, top: int | None = None
) -> Float[Array, "P"]:
    """-sum_k [s_k - log sum_{j >= k} exp(s_j)]: the best is picked first, then the best of the rest, and so on.

    With two completions, -log sigmoid(s_1 - s_2). A ranking of fewer than two costs nothing.

    Args:
        rewards: s, in nats, best first.
        present: False where a row has fewer than K completions; such places, wherever they are, are skipped.
        top: how many picks count: beyond them the order is not known, or not trusted; None for all.

    Source: Plackett 1975; Rafailov et al. 2023 (DPO, arXiv:2305.18290), appendix A.3.
    """
    places = jnp.arange(rewards.shape[1])
    # A place always competes with itself, so that an absent one has a finite logarithm to be masked away.
    rivals = (places[None, :] >= places[:, None])[None] & present[:, None, :] | jnp.eye(rewards.shape[1], dtype=bool)[
        None
    ]
    competing = jnp.where(rivals, jnp.broadcast_to(rewards[:, None, :], rivals.shape), -jnp.inf)
    losses = jax.nn.logsumexp(competing, axis=-1) - rewards
    picked = present if top is None else present & (jnp.cumsum(present, axis=1) <= top)
    return jnp.sum(jnp.where(picked, losses, 0), axis=-1)


def all_pairs(rewards: Float[Array, "P K"], present: Bool[Array, "P K"]) -> Float[Array, "P"]:
    """Mean over i < j of -log sigmoid(s_i - s_j): every pair of a ranking alike, every ranking one number.

    A ranking of fewer than two costs nothing.

    Args:
        rewards: s, in nats, best first.
        present: False where a row has fewer than K completions.

    Source: Ouyang et al. 2022 (InstructGPT, arXiv:2203.02155), eq. 1.
    """
    places = jnp.arange(rewards.shape[1])
    pairs = (places[:, None] < places[None, :])[None] & present[:, :, None] & present[:, None, :]
    return masked.mean(-jax.nn.log_sigmoid(rewards[:, :, None] - rewards[:, None, :]), pairs, axis=(1, 2))


def softmax_gains(
    rewards: Float[Array, "P K"],
    gains: Float[Array, "P K"],
    present: Bool[Array, "P K"],
    *,
    mean_rivals: bool = False,
) -> Float[Array, "P"]:
    """(1/N) sum_i -w_i log sigmoid(-log sum_{j != i} exp(s_j - s_i)): every item against all others of the row.

    As log sigmoid(-log S) = -log(1 + S), that is -(1/N) sum_i w_i log softmax(s)_i.

    Args:
        rewards: s, in nats.
        gains: w, without gradient.
        present: False where a row has fewer than K items, N of them; such places are skipped.
        mean_rivals: the mean of the N - 1 others in the place of their sum.

    Source: Wu et al. 2025 (IRPO, arXiv:2504.15477); mean: the authors' code.
    """
    rivals = present[:, None, :] & ~jnp.eye(rewards.shape[1], dtype=bool)[None]
    counts = jnp.sum(rivals, axis=-1)
    competing = jnp.where(rivals, jnp.broadcast_to(rewards[:, None, :], rivals.shape), -jnp.inf)
    # An item without rivals is its own, so that it has a finite logarithm to be masked away.
    alone = jnp.eye(rewards.shape[1], dtype=bool)[None] & (counts == 0)[:, :, None]
    competing = jnp.where(alone, jnp.broadcast_to(rewards[:, None, :], rivals.shape), competing)
    total = jax.nn.logsumexp(competing, axis=-1)
    total -= jnp.log(jnp.maximum(counts, 1).astype(rewards.dtype)) if mean_rivals else 0
    losses = jax.lax.stop_gradient(gains) * -jax.nn.log_sigmoid(rewards - total)
    return masked.mean(losses, present & (counts > 0), axis=-1)


def better(levels: Float[Array, "P K"]) -> Float[Array, "P K K"]:
    """1 at [p, i, j] where completion i has a higher level than j, 0 elsewhere. A level that is NaN is in no pair."""
    return (levels[:, :, None] > levels[:, None, :]).astype(jnp.float32)


def row_weights(mask: Bool[Array, "P K T"]) -> Float[Array, "P"]:
    """Every ranking alike: w = 1 / (rows with at least two completions that have counted tokens), 0 on the others."""
    present = jnp.sum(jnp.any(mask, axis=-1), axis=-1)
    counted = (present >= 2).astype(jnp.float32)
    return counted / jnp.maximum(jnp.sum(counted), 1)
