"""Skewed KL divergences: against a mixture of the two sides, and therefore bounded.

The paper's p is the teacher and its q the trained student; for a loss whose p is the student, `generator.Reversed` puts
the arguments as the paper has them. The authors' code leaves out the constant entropy of the teacher; here it is in, so
that equal sides give 0.

Source: Ko et al. 2024 (DistiLLM, arXiv:2402.03898).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import generator


@dataclasses.dataclass(frozen=True)
class SkewedKL:
    """KL(p || m), m = a p + (1 - a) q: f(u) = u log(u / (a u + 1 - a)) - (1 - a) (u - 1)."""

    share: float
    """Of p in the mixture (alpha), between 0 and 1; the paper takes 0.1."""

    derivative_at_zero = -math.inf

    def __post_init__(self):
        generator.check_share("share", self.share)

    @property
    def derivative_at_infinity(self) -> float:
        """log(1 / a) - (1 - a)."""
        return -math.log(self.share) - (1 - self.share)

    @property
    def bound(self) -> float:
        """log(1 / a)."""
        return -math.log(self.share)

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p log(p / m) - p + m."""
        own = jnp.exp(log_p) * generator.log_share(log_p - log_q, self.share)
        return own - (1 - self.share) * generator.difference(log_p, log_q)

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p (log(p / m) + (1 - a) (q / m - 1))."""
        return jnp.exp(log_p) * self.derivative(log_p - log_q)

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """log(u / m) + (1 - a) (1 / m - 1), m = a u + 1 - a."""
        log_m = generator.log_mixture(log_ratios, self.share)
        return generator.log_share(log_ratios, self.share) + (1 - self.share) * jnp.expm1(-log_m)

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """No closed form: f' is increasing in l, so halve [-LIMIT, LIMIT] until u is exact to rounding."""

        def halve(_, ends):
            middle = (ends[0] + ends[1]) / 2
            low = self.derivative(middle) < derivatives
            return jnp.where(low, middle, ends[0]), jnp.where(low, ends[1], middle)

        limit = jnp.full_like(derivatives, generator.LIMIT)
        return jnp.exp(jax.lax.fori_loop(0, 60, halve, (-limit, limit))[0])

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """u y - f(u) at u = (f')^-1(y)."""
        u = self.inverse(derivatives)
        log_u = jnp.log(u)
        return u * derivatives - self.terms(log_u, jnp.zeros_like(log_u))


@dataclasses.dataclass(frozen=True)
class SkewedReverseKL:
    """KL(q || m), m = (1 - a) p + a q: f(u) = -log((1 - a) u + a) + (1 - a) (u - 1).

    f'(0) is finite: an optimum under it may leave the reference's support.
    """

    share: float
    """Of q in the mixture (alpha), between 0 and 1; the paper takes 0.1."""

    def __post_init__(self):
        generator.check_share("share", self.share)

    @property
    def derivative_at_zero(self) -> float:
        """(1 - a) (1 - 1 / a)."""
        return (1 - self.share) * (1 - 1 / self.share)

    @property
    def derivative_at_infinity(self) -> float:
        """1 - a."""
        return 1 - self.share

    @property
    def bound(self) -> float:
        """log(1 / a)."""
        return -math.log(self.share)

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """q log(q / m) - q + m."""
        log_m = generator.log_mixture(log_p - log_q, 1 - self.share)
        return (1 - self.share) * generator.difference(log_p, log_q) - jnp.exp(log_q) * log_m

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(1 - a) p (1 - q / m)."""
        return jnp.exp(log_p) * self.derivative(log_p - log_q)

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(1 - a) (1 - 1 / m), m = (1 - a) u + a."""
        log_m = generator.log_mixture(log_ratios, 1 - self.share)
        return -(1 - self.share) * jnp.expm1(-log_m)

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """max(0, (1 / (1 - y / (1 - a)) - a) / (1 - a))."""
        kept = 1 - self.share
        return jnp.maximum(0, (1 / (1 - derivatives / kept) - self.share) / kept)

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """-log(1 - z) - a z, z = y / (1 - a), where y > f'(0); log a + 1 - a below."""
        z = jnp.maximum(derivatives, self.derivative_at_zero) / (1 - self.share)
        return -jnp.log1p(-z) - self.share * z
