"""Total variation: the one divergence of the family whose f has a corner."""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class TotalVariation:
    """sum |p - q| / 2, f(u) = |u - 1| / 2: symmetric, at most 1, its slope the same however far p lies from q.

    f' takes two values only and has no inverse: no optimum follows from it, and no preference loss. Read as [-1/2, 1/2]
    at u = 1, it is 0 here.
    """

    derivative_at_zero = -0.5
    derivative_at_infinity = 0.5
    bound = 1.0

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """|p - q| / 2."""
        return jnp.abs(jnp.exp(log_p) - jnp.exp(log_q)) / 2

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p sign(p - q) / 2."""
        return jnp.exp(log_p) * jnp.sign(log_p - log_q) / 2

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """sign(l) / 2."""
        return jnp.sign(log_ratios) / 2

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """max(y, -1/2), for y <= 1/2."""
        return jnp.maximum(derivatives, -0.5)
