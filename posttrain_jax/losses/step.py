"""Rewards of the steps of a completion: labels, and one reward from all of them. Steps end at marked tokens.

Source: Lightman et al. 2023 (arXiv:2305.20050); labels from rollouts: Wang et al. 2023 (Math-Shepherd,
arXiv:2312.08935).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax.losses import outcome

Aggregate = Callable[[Float[Array, "P G T"], Bool[Array, "P G T"]], Float[Array, "P G"]]
"""From the logits of steps, and where steps end, to one reward: `least`, `product`, `final`."""


def hard(rates: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """1 where any rollout from the step was right, else 0: from success rates, which are the soft labels themselves."""
    return (rates > 0).astype(rates.dtype)


def least(logits: Float[Array, "P G T"], ends: Bool[Array, "P G T"]) -> Float[Array, "P G"]:
    """min over steps of sigmoid(z): as good as the worst step; 1 without steps."""
    return jnp.min(jnp.where(ends, jax.nn.sigmoid(logits), 1), axis=-1)


def product(logits: Float[Array, "P G T"], ends: Bool[Array, "P G T"]) -> Float[Array, "P G"]:
    """prod over steps of sigmoid(z): the probability that all are right, were they independent; 1 without steps."""
    return jnp.exp(jnp.sum(jnp.where(ends, jax.nn.log_sigmoid(logits), 0), axis=-1))


def final(logits: Float[Array, "P G T"], ends: Bool[Array, "P G T"]) -> Float[Array, "P G"]:
    """sigmoid(z) of the last step; 1/2 without steps."""
    return jax.nn.sigmoid(jnp.sum(jnp.where(outcome.last(ends), logits, 0), axis=-1))
