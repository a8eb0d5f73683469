"""Generators f of powers: the alpha family with its famous members, and chi^2 with KL; Renyi's divergence with them.

As in `losses/generator.py`: D_f(p || q) = sum_v q_v f(p_v / q_v), u = p / q, l = log u, gauge f(1) = f'(1) = 0.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import generator


@dataclasses.dataclass(frozen=True)
class Alpha:
    """Order a: f(u) = (u^a - a u + a - 1) / (a (a - 1)). a -> 1 is KL(p || q), a -> 0 is KL(q || p).

    D_a(p || q) = D_(1-a)(q || p). f-DPO's alpha is 1 - a (`Alpha.from_fdpo`), newer TRL's coefficient is a; the two
    agree at 1/2 only.

    Source: Amari 1985; Cichocki and Amari 2010 (Entropy 12:1532).
    """

    order: float
    """a: any number but 0 and 1."""

    def __post_init__(self):
        if not math.isfinite(self.order) or self.order in (0, 1):
            raise ValueError(
                f"order={self.order}: 0 and 1 are `ForwardKL` and `ReverseKL`; give another finite number."
            )

    @classmethod
    def from_fdpo(cls, alpha: float) -> "Alpha":
        """The divergence that Wang et al. 2023 (f-DPO, arXiv:2309.16240) call alpha: f'(u) = (1 - u^-alpha) / alpha."""
        return cls(1 - alpha)

    @property
    def derivative_at_zero(self) -> float:
        """-inf for a < 1, else -1 / (a - 1)."""
        return -math.inf if self.order < 1 else -1 / (self.order - 1)

    @property
    def derivative_at_infinity(self) -> float:
        """1 / (1 - a) for a < 1, else inf."""
        return math.inf if self.order > 1 else 1 / (1 - self.order)

    @property
    def bound(self) -> float:
        """1 / (a (1 - a)) for 0 < a < 1."""
        return 1 / (self.order * (1 - self.order)) if 0 < self.order < 1 else math.inf

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(p^a q^(1-a) - a p - (1 - a) q) / (a (a - 1))."""
        a, log_ratio = self.order, log_p - log_q
        mixed = generator.exp(a * log_p + (1 - a) * log_q)
        far = mixed - a * jnp.exp(log_p) - (1 - a) * jnp.exp(log_q)
        held = jnp.clip(log_ratio, -1, 1)
        near = jnp.exp(log_q) * (jnp.expm1(a * held) - a * jnp.expm1(held))
        return jnp.where(jnp.abs(log_ratio) < 1, near, far) / (a * (a - 1))

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(p^a q^(1-a) - p) / (a - 1)."""
        return generator.difference(self.order * log_p + (1 - self.order) * log_q, log_p) / (self.order - 1)

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(u^(a-1) - 1) / (a - 1)."""
        return generator.power(log_ratios, alpha=1 - self.order)

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """max(0, 1 + (a - 1) y)^(1 / (a - 1))."""
        return jnp.maximum(0, 1 + (self.order - 1) * derivatives) ** (1 / (self.order - 1))

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(max(0, 1 + (a - 1) y)^(a / (a - 1)) - 1) / a."""
        held = jnp.maximum(0, 1 + (self.order - 1) * derivatives)
        return (held ** (self.order / (self.order - 1)) - 1) / self.order


@dataclasses.dataclass(frozen=True)
class ChiSquared:
    """Pearson's sum (p - q)^2 / q, f(u) = (u - 1)^2: twice `Alpha(2)`. Its optimum leaves options out entirely."""

    derivative_at_zero = -2.0
    derivative_at_infinity = math.inf
    bound = math.inf

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(p - q)^2 / q."""
        return (_over_root(log_p, log_q) - jnp.exp(log_q / 2)) ** 2

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """2 p (p - q) / q."""
        over = _over_root(log_p, log_q)
        return 2 * over * (over - jnp.exp(log_q / 2))

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """2 (u - 1)."""
        return 2 * generator.power(log_ratios, alpha=-1.0)

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """max(0, 1 + y / 2)."""
        return jnp.maximum(0, 1 + derivatives / 2)

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """y + y^2 / 4 for y >= -2, else -1."""
        held = jnp.maximum(-2, derivatives)
        return held + held**2 / 4


@dataclasses.dataclass(frozen=True)
class Neyman:
    """Sum (p - q)^2 / p, f(u) = (u - 1)^2 / u: twice `Alpha(-1)`."""

    derivative_at_zero = -math.inf
    derivative_at_infinity = 1.0
    bound = math.inf

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(q - p)^2 / p."""
        return (_over_root(log_q, log_p) - jnp.exp(log_p / 2)) ** 2

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p - q^2 / p."""
        over, root = _over_root(log_q, log_p), jnp.exp(log_p / 2)
        return (root - over) * (root + over)

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """1 - u^-2."""
        return 2 * generator.power(log_ratios, alpha=2.0)

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(1 - y)^(-1/2)."""
        return jax.lax.rsqrt(1 - derivatives)

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """2 - 2 sqrt(1 - y)."""
        return 2 - 2 * jnp.sqrt(1 - derivatives)


@dataclasses.dataclass(frozen=True)
class SquaredHellinger:
    """1 - sum sqrt(p q), f(u) = (sqrt(u) - 1)^2 / 2: a quarter of `Alpha(1/2)`, symmetric, at most 1."""

    derivative_at_zero = -math.inf
    derivative_at_infinity = 0.5
    bound = 1.0

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(sqrt(p) - sqrt(q))^2 / 2."""
        return (jnp.exp(log_p / 2) - jnp.exp(log_q / 2)) ** 2 / 2

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """sqrt(p) (sqrt(p) - sqrt(q)) / 2."""
        root = jnp.exp(log_p / 2)
        return root * (root - jnp.exp(log_q / 2)) / 2

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(1 - u^(-1/2)) / 2."""
        return generator.power(log_ratios, alpha=0.5) / 4

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(1 - 2 y)^-2."""
        return (1 - 2 * derivatives) ** -2

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """y / (1 - 2 y)."""
        return derivatives / (1 - 2 * derivatives)


@dataclasses.dataclass(frozen=True)
class ChiSquaredKL:
    """chi^2 / 2 + KL(p || q), f(u) = (u - 1)^2 / 2 + u log u - u + 1: the divergence of chi-PO.

    Source: Huang et al. 2024 (chi-PO, arXiv:2407.13399).
    """

    derivative_at_zero = -math.inf
    derivative_at_infinity = math.inf
    bound = math.inf

    def terms(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """(p - q)^2 / (2 q) + p log(p / q) - p + q."""
        return ChiSquared().terms(log_p, log_q) / 2 + generator.ReverseKL().terms(log_p, log_q)

    def slopes(self, log_p: Float[Array, "*shape"], log_q: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """p (p / q - 1 + log(p / q))."""
        return ChiSquared().slopes(log_p, log_q) / 2 + generator.ReverseKL().slopes(log_p, log_q)

    def derivative(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """u - 1 + l."""
        return generator.power(log_ratios, alpha=-1.0) + log_ratios

    def inverse(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Lambert's W(exp(y + 1)), by Newton's steps on exp(x) + x = y + 1, x = log W."""
        goal = derivatives + 1
        x = jnp.where(goal > 1, jnp.log(jnp.maximum(goal, 1)), goal)
        for _ in range(6):  # from the right of a convex function: no step goes too far, and the last ones double digits
            x = x - (jnp.exp(x) + x - goal) / (jnp.exp(x) + 1)
        return jnp.exp(x)

    def conjugate(self, derivatives: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """w^2 / 2 + w - 3 / 2, w = (f')^-1(y)."""
        w = self.inverse(derivatives)
        return w**2 / 2 + w - 1.5


@dataclasses.dataclass(frozen=True)
class Renyi:
    """log(sum p^a q^(1-a)) / (a - 1), a function of `Alpha(a)`; a -> 1 is KL(p || q), a = 2 is log(1 + chi^2).

    No f-divergence: ask for `divergence`, and transform the value of each token with `of`.

    Source: Renyi 1961; van Erven and Harremoes 2014 (arXiv:1206.2459).
    """

    order: float
    """a: positive and not 1."""

    def __post_init__(self):
        if not (math.isfinite(self.order) and self.order > 0 and self.order != 1):
            raise ValueError(f"order={self.order}: Renyi's divergence has a positive finite order other than 1.")

    @property
    def divergence(self) -> Alpha:
        """What the sum over the vocabulary is taken of."""
        return Alpha(self.order)

    def of(self, divergences: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """log(1 + a (a - 1) D_a) / (a - 1)."""
        return jnp.log1p(self.order * (self.order - 1) * divergences) / (self.order - 1)


def _over_root(log_a: Float[Array, "*shape"], log_b: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """a / sqrt(b), held so that its square is finite."""
    return jnp.exp(jnp.minimum(log_a - log_b / 2, generator.LIMIT / 2))
