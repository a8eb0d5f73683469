"""Expectation maximisation over reward models of groups of people: which of K rewards explains a person's choices.

A choice of person h is explained by reward u with log-likelihood log sigmoid(r_u(chosen) - r_u(rejected)).

Source: Chakraborty et al. 2024 (MaxMin-RLHF, arXiv:2402.08925), algorithm 2; soft assignment is ours.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Assignment = Callable[[Float[Array, "H K"], Float[Array, "K"]], Float[Array, "H K"]]
"""From log-likelihoods of everyone's choices and the groups' shares to responsibilities: `hard` or `soft`."""


def evidence(
    margins: Float[Array, "P K"], people: Int[Array, "P"], counted: Bool[Array, "P"], *, size: int
) -> Float[Array, "H K"]:
    """sum over the counted choices of each person of log sigmoid(margin), under each reward; no gradient.

    Args:
        margins: r_u(chosen) - r_u(rejected), in nats.
        people: who chose, from 0.
        counted: choices that count.
        size: H, the number of people.
    """
    likely = jnp.where(counted[:, None], jax.nn.log_sigmoid(jax.lax.stop_gradient(margins)), 0)
    return jax.ops.segment_sum(likely, people, num_segments=size)


def hard(likelihoods: Float[Array, "H K"], shares: Float[Array, "K"]) -> Float[Array, "H K"]:
    """1 at the reward that explains all of a person's choices best, the first of equal ones; shares do not matter."""
    return jax.nn.one_hot(jnp.argmax(likelihoods, axis=-1), likelihoods.shape[-1])


def soft(likelihoods: Float[Array, "H K"], shares: Float[Array, "K"]) -> Float[Array, "H K"]:
    """softmax_u(log-likelihood + log share): the posterior of a person's group."""
    return jax.nn.softmax(likelihoods + jnp.log(jnp.maximum(shares, 1e-30))[None], axis=-1)


def dealt(people: int, groups: int) -> Float[Array, "H K"]:
    """Person h to reward h mod K: where the authors' code begins."""
    return jax.nn.one_hot(jnp.arange(people) % groups, groups)
