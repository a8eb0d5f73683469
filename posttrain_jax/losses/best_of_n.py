"""The best of n samples by a reward: which, and how good it is expected to be. Its divergence: `losses.tilting`."""

import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float, Int


def best(rewards: Float[Array, "*rows n"]) -> Int[Array, "*rows"]:
    """The sample with the highest reward, the first of equal ones; NaN is never the best unless all are."""
    return jnp.argmax(jnp.where(jnp.isnan(rewards), -jnp.inf, rewards), axis=-1)


def expected(rewards: Float[Array, "*rows M"], gains: Float[Array, "*rows M"], n: int) -> Float[Array, "*rows"]:
    """Unbiased mean gain of the best of n out of M samples: sum_i g_(i) C(i - 1, n - 1) / C(M, n), by rising reward.

    It is the mean over all subsets of n. With the gains the rewards themselves, it is what the best of n earns by the
    reward that picks it; with another reward's, what picking by a proxy earns.

    Args:
        rewards: that pick; of equal ones the later is taken for the higher.
        gains: that are counted.
        n: from 1 (the mean) to M (the best).

    Raises:
        ValueError: there are fewer than n samples, or n is below 1.

    Source: Nakano et al. 2021 (WebGPT, arXiv:2112.09332), appendix I.
    """
    count = rewards.shape[-1]
    if not 1 <= n <= count:
        raise ValueError(f"the best of {n} cannot be told from {count} samples: choose n from 1 to {count}.")
    ranks = jnp.arange(count)
    below = jnp.maximum(ranks, n - 1).astype(rewards.dtype)

    def log_choose(total: Float[Array, "..."] | float, some: float) -> Float[Array, "..."]:
        return gammaln(total + 1.0) - gammaln(some + 1.0) - gammaln(total - some + 1.0)

    weights = jnp.where(ranks >= n - 1, jnp.exp(log_choose(below, n - 1.0) - log_choose(float(count), float(n))), 0)
    ordered = jnp.take_along_axis(gains, jnp.argsort(rewards, axis=-1), axis=-1)
    return jnp.sum(ordered * weights.reshape((1,) * (gains.ndim - 1) + (count,)), axis=-1)
