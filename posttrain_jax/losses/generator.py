"""Generators f of the divergences D_f(p || q) = sum_v q_v f(p_v / q_v): here those made of logarithms.

f is convex and given in the gauge f(1) = f'(1) = 0. Then f >= 0, no term of the sum is negative, and an error common to
all log-probabilities (that of their normaliser) cancels to second order. Adding c (u - 1) to f changes no divergence.

Each is a value, a frozen dataclass. Arguments are logarithms: l = log u, log p, log q, in nats. Which does what, with a
picture: docs/divergences.md.

Source: Csiszar 1967 (f-divergences); the table of generators is Nowozin et al. 2016 (f-GAN, arXiv:1606.00709), gauge
and log-space forms are ours.
"""

import dataclasses
import math
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison
from posttrain_jax.losses import ratio

LIMIT = 80.0
"""Nats at which exponents are held in sums over the vocabulary: exp(80) = 5.5e34 is finite in float32."""


@runtime_checkable
class Generator(Protocol):
    """A `comparison.Divergence` with all that its f gives: f(u) itself is `terms(log u, 0)`."""

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """q f(p / q) of each entry."""
        ...

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p f'(p / q), the derivative of the terms in log p."""
        ...

    @property
    def derivative_at_zero(self) -> float:
        """f'(0+). Where it is -inf the optimum keeps the reference's support, and f-DPO is valid."""
        ...

    @property
    def derivative_at_infinity(self) -> float:
        """f'(inf), the supremum of f'."""
        ...

    @property
    def bound(self) -> float:
        """The largest value of D."""
        ...

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """f'(exp(l))."""
        ...

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(f')^-1(y) >= 0, for y < f'(inf)."""
        ...

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """f*(y) = sup_{u >= 0} (u y - f(u)), for y < f'(inf)."""
        ...


@dataclasses.dataclass(frozen=True)
class ReverseKL:
    """KL(p || q), f(u) = u log u - u + 1: mode seeking where p is trained, unbounded."""

    derivative_at_zero = -math.inf
    derivative_at_infinity = math.inf
    bound = math.inf

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p log(p / q) - p + q."""
        return jnp.exp(log_p) * (log_p - log_q) - difference(log_p, log_q)

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p log(p / q)."""
        return jnp.exp(log_p) * (log_p - log_q)

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """l."""
        return log_ratios

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """exp(y)."""
        return exp(derivatives)

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """exp(y) - 1."""
        return jnp.expm1(jnp.minimum(derivatives, LIMIT))


@dataclasses.dataclass(frozen=True)
class ForwardKL:
    """KL(q || p), f(u) = -log u + u - 1: mass covering where p is trained, unbounded."""

    derivative_at_zero = -math.inf
    derivative_at_infinity = 1.0
    bound = math.inf

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """q log(q / p) - q + p."""
        return jnp.exp(log_q) * (log_q - log_p) + difference(log_p, log_q)

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p - q."""
        return difference(log_p, log_q)

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """1 - exp(-l)."""
        return power(log_ratios, alpha=1.0)

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """1 / (1 - y)."""
        return 1 / (1 - derivatives)

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """-log(1 - y)."""
        return -jnp.log1p(-derivatives)


@dataclasses.dataclass(frozen=True)
class GeneralizedJS:
    """b KL(p || m) + (1 - b) KL(q || m), m = b p + (1 - b) q: f(u) = b u log u - (b u + 1 - b) log(b u + 1 - b).

    The JSD(beta) of GKD with b = beta has the teacher as p, so for a trained student it is `Reversed(GeneralizedJS(b))`
    or, the same, `GeneralizedJS(1 - b)`. It is 0 at b = 0 and 1; divided by b it tends to KL(p || q) as b -> 0, divided
    by 1 - b to KL(q || p) as b -> 1. TRL puts the two KLs at the ends instead, where its loss jumps.

    Source: Lin 1991 (Jensen-Shannon); Agarwal et al. 2023 (GKD, arXiv:2306.13649).
    """

    weight: float
    """Of p in the mixture and in the sum (b), between 0 and 1."""

    derivative_at_zero = -math.inf

    def __post_init__(self):
        check_share("weight", self.weight)

    @property
    def derivative_at_infinity(self) -> float:
        """b log(1 / b)."""
        return -self.weight * math.log(self.weight)

    @property
    def bound(self) -> float:
        """Entropy of (b, 1 - b)."""
        return -self.weight * math.log(self.weight) - (1 - self.weight) * math.log1p(-self.weight)

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """b p log(p / m) + (1 - b) q log(q / m)."""
        log_m = log_mixture(log_p - log_q, self.weight)
        return self.slopes(log_p, log_q) - (1 - self.weight) * jnp.exp(log_q) * log_m

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """b p log(p / m)."""
        return jnp.exp(log_p) * self.derivative(log_p - log_q)

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """b log(u / (b u + 1 - b))."""
        return self.weight * log_share(log_ratios, self.weight)

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(1 - b) exp(y / b) / (1 - b exp(y / b))."""
        scaled = jnp.exp(derivatives / self.weight)
        return (1 - self.weight) * scaled / (1 - self.weight * scaled)

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(1 - b) log((1 - b) / (1 - b exp(y / b)))."""
        scaled = self.weight * jnp.exp(derivatives / self.weight)
        return (1 - self.weight) * (math.log1p(-self.weight) - jnp.log1p(-scaled))


def jensen_shannon() -> GeneralizedJS:
    """(KL(p || m) + KL(q || m)) / 2, m = (p + q) / 2: at most log 2.

    f-DPO, f-DPG and the GAN literature mean twice this: double its weight (or beta) to follow them.
    """
    return GeneralizedJS(0.5)


@dataclasses.dataclass(frozen=True)
class Reversed:
    """D(q || p), the arguments exchanged: a fixed teacher first, the trained student second.

    u f(1 / u) is convex too, but its f' has no inverse in closed form: this is a divergence, not a generator.
    """

    divergence: comparison.Divergence

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p f(q / p)."""
        return self.divergence.terms(log_q, log_p)

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p (f(v) - v f'(v)), v = q / p."""
        return self.divergence.terms(log_q, log_p) - self.divergence.slopes(log_q, log_p)


def difference(log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """p - q, to the last digits also where the two are nearly equal."""
    log_ratio = log_p - log_q
    near = jnp.exp(log_q) * jnp.expm1(jnp.clip(log_ratio, -1, 1))
    return jnp.where(jnp.abs(log_ratio) < 1, near, exp(log_p) - exp(log_q))


def log_mixture(log_ratios: Float[Array, "*shape"], share: float) -> Float[Array, "*shape"]:
    """log m, m = share u + 1 - share: to the last digits also where u is nearly 1."""
    low, high = jnp.minimum(log_ratios, 0), jnp.maximum(log_ratios, 0)
    return jnp.log1p(share * jnp.expm1(low)) + high + jnp.log1p((1 - share) * jnp.expm1(-high))


def log_share(log_ratios: Float[Array, "*shape"], share: float) -> Float[Array, "*shape"]:
    """log(u / m), m as in `log_mixture`: also where u is so large that l - log m would lose its digits."""
    low, high = jnp.minimum(log_ratios, 0), jnp.maximum(log_ratios, 0)
    return low - jnp.log1p(share * jnp.expm1(low)) - jnp.log1p((1 - share) * jnp.expm1(-high))


def power(x: Float[Array, "*shape"], *, alpha: float) -> Float[Array, "*shape"]:
    """(1 - exp(-alpha x)) / alpha, which is x at alpha = 0; alpha may have either sign.

    The exponent is held below `ratio.LIMIT`, beyond which there is no gradient.
    """
    return x if alpha == 0 else -jnp.expm1(jnp.minimum(-alpha * x, ratio.LIMIT)) / alpha


def exp(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(min(x, LIMIT)): constant, and without gradient, beyond the limit."""
    return jnp.exp(jnp.minimum(x, LIMIT))


def check_share(name: str, share: float) -> None:
    """Refuse a share of a mixture that leaves one side out."""
    if not 0 < share < 1:
        raise ValueError(f"{name}={share} mixes nothing: choose it between 0 and 1.")
