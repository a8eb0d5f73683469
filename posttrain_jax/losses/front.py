"""Fronts of policies that were measured on several objectives, all to be maximised: who is beaten, and how good the
rest is together.

Points are [N, K]: N policies, K objectives. A point beats another if it is nowhere less and somewhere more.

Source: crowding distance: Deb et al. 2002 (NSGA-II); hypervolume: Zitzler and Thiele 1999; expected utility and
sparsity as in Liu et al. 2024 (C-MORL, arXiv:2410.02236).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def unbeaten(points: Float[Array, "N K"]) -> Bool[Array, "N"]:
    """True on the front; equal points do not beat one another."""
    mine, other = points[:, None, :], points[None, :, :]
    nowhere_less = jnp.all(other >= mine, axis=-1)
    return ~jnp.any(nowhere_less & jnp.any(other > mine, axis=-1), axis=1)


def crowding(points: Float[Array, "N K"]) -> Float[Array, "N"]:
    """How far the neighbours of each point are: sum_k (next - previous in objective k) / (largest - smallest).

    Infinite at the ends of every objective, from which a front is extended first. Of points that are all alike in an
    objective, that one says nothing. Give the front alone.
    """

    def one(x: Float[Array, "N"]) -> Float[Array, "N"]:
        order = jnp.argsort(x)
        ordered = x[order]
        width = ordered[-1] - ordered[0]
        gaps = (ordered[2:] - ordered[:-2]) / jnp.where(width > 0, width, 1)
        ends = jnp.where(width > 0, jnp.inf, 0)[None]
        return jnp.zeros_like(x).at[order].set(jnp.concatenate([ends, gaps, ends]))

    return jnp.sum(jax.vmap(one, in_axes=1, out_axes=1)(points), axis=1)


def hypervolume(points: Float[Array, "N K"], origin: Float[Array, "K"]) -> Float[Array, ""]:
    """The volume between `origin` and the front: of all that some point beats and that is above `origin` everywhere.

    Exact, on the grid of the points' coordinates: N^K cells.
    """
    count, objectives = points.shape
    held = jnp.maximum(points, origin[None])
    edges = jnp.sort(held, axis=0)
    places = [jnp.searchsorted(edges[:, k], held[:, k]) for k in range(objectives)]
    filled = jnp.zeros((count,) * objectives).at[tuple(places)].set(1)
    widths = jnp.diff(edges, axis=0, prepend=origin[None])
    for k in range(objectives):
        filled = jax.lax.cummax(filled, axis=k, reverse=True)
    for k in reversed(range(objectives)):
        filled = jnp.einsum("...n,n->...", filled, widths[:, k], precision="highest")
    return filled


def expected_utility(points: Float[Array, "N K"], weights: Float[Array, "M K"]) -> Float[Array, ""]:
    """What the best policy for each gives people who weigh the objectives so, on average: mean_w max_n w . J_n."""
    return jnp.mean(jnp.max(jnp.einsum("mk,nk->mn", weights, points, precision="highest"), axis=1))


def sparsity(points: Float[Array, "N K"]) -> Float[Array, ""]:
    """Squared gaps between neighbours, summed over the objectives, over N - 1: small where a front is dense.

    0 of a single point. Give the front alone.
    """
    gaps = jnp.diff(jnp.sort(points, axis=0), axis=0)
    return jnp.sum(gaps**2) / max(points.shape[0] - 1, 1)
