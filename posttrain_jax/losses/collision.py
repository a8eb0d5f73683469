"""How likely two draws are the same token: sum_v p(v)^2, exact over the vocabulary."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Collision:
    """sum_v p(v)^2, in (0, 1]: the probability that a drawn token has, in expectation. It reads p alone.

    For a `Comparison` (which computes sums over the vocabulary); minus its logarithm is the Renyi entropy of order 2.
    """

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p^2."""
        return jnp.exp(2 * log_p)

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """d p^2 / d log p."""
        return 2 * jnp.exp(2 * log_p)
