"""Responses that can be listed and have several rewards each, and the true front of these: what `c_morl` is about."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from posttrain_jax.losses import tilting

Rewards = Float[Array, "X Y K"]


def rewards_of(key: Key[Array, ""], prompts: int, responses: int) -> Rewards:
    """Two objectives at odds: what is good in one is, mostly, less good in the other. Between 0 and 1."""
    angle, size = jax.random.uniform(key, (2, prompts, responses))
    angle, size = angle * jnp.pi / 2, 0.4 + 0.6 * size
    return size[..., None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def means(logits: Float[Array, "*n X Y"], rewards: Rewards) -> Float[Array, "*n K"]:
    """J: each objective on average over prompts, exactly."""
    return jnp.einsum("...xy,xyk->...k", jax.nn.softmax(logits), rewards, precision="highest") / rewards.shape[0]


def true_front(rewards: Rewards, kl_coef: float, count: int = 201) -> Float[Array, "count K"]:
    """J of the policies that are best for weights (w, 1 - w) of the two: less `kl_coef` KL from even ones, or without.

    Without, they are the corners of the front, which is straight between two of them.
    """
    shares = jnp.linspace(0, 1, count)[:, None, None]
    worth = shares * rewards[..., 0][None] + (1 - shares) * rewards[..., 1][None]
    even = jnp.full(worth.shape[1:], -jnp.log(worth.shape[-1]))
    first, second = means(jax.vmap(lambda r: tilting.tilted(even, r, max(kl_coef, 1e-4)))(worth), rewards).T
    between = jnp.linspace(first[0], first[-1], count)
    return jnp.stack([between, jnp.interp(between, first, second)], axis=1)
