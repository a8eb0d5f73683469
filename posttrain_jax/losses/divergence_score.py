"""Scores s(a) = f'(exp(a)) of a log-ratio a = log pi(y) / pi_ref(y), up to a constant that cancels in margins.

With an f-divergence in the place of KL(policy || ref), the implicit reward is beta s(a). f must be convex with an
invertible f' that is undefined at 0, or the normaliser does not cancel: neither total variation nor chi^2 alone does.

Each is a value: a frozen dataclass that is called. Exponents are held below `ratio.LIMIT`, beyond which the
exponential has no gradient.

Source: Wang et al. 2023 (arXiv:2309.16240).
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import ratio


@runtime_checkable
class Score(Protocol):
    """From log-ratios to scores."""

    def __call__(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """s(a)."""
        ...


@dataclasses.dataclass(frozen=True)
class ReverseKL:
    """f(z) = z log z: s(a) = a, the score of DPO."""

    def __call__(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """s(a)."""
        return log_ratios


@dataclasses.dataclass(frozen=True)
class ForwardKL:
    """f(z) = -log z: s(a) = -exp(-a)."""

    def __call__(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """s(a)."""
        return -_exp(-log_ratios)


@dataclasses.dataclass(frozen=True)
class JensenShannon:
    """f(z) = z log z - (z + 1) log((z + 1) / 2): s(a) = log sigmoid(a)."""

    def __call__(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """s(a)."""
        return jax.nn.log_sigmoid(log_ratios)


@dataclasses.dataclass(frozen=True)
class Alpha:
    """f(z) = (z^(1-alpha) - (1-alpha) z - alpha) / (alpha (alpha-1)): s(a) = (1 - exp(-alpha a)) / alpha.

    alpha -> 0 is the reverse KL, alpha -> 1 the forward KL. Newer TRL's coefficient is 1 - alpha.
    """

    alpha: float
    """Between 0 and 1; the paper tries 0.3, 0.5 and 0.7."""

    def __post_init__(self):
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha={self.alpha} is no divergence between the two KLs: choose it between 0 and 1.")

    def __call__(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """s(a)."""
        return power(log_ratios, alpha=self.alpha)


@dataclasses.dataclass(frozen=True)
class ChiSquaredKL:
    """f(z) = (z - 1)^2 / 2 + z log z: s(a) = exp(a) + a.

    Source: Huang et al. 2024 (chi-PO, arXiv:2407.13399).
    """

    def __call__(self, log_ratios: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """s(a)."""
        return _exp(log_ratios) + log_ratios


def power(x: Float[Array, "*shape"], *, alpha: float) -> Float[Array, "*shape"]:
    """(1 - exp(-alpha x)) / alpha, which is x at alpha = 0; alpha may have either sign."""
    return x if alpha == 0 else -jnp.expm1(jnp.minimum(-alpha * x, ratio.LIMIT)) / alpha


def _exp(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    return jnp.exp(jnp.minimum(x, ratio.LIMIT))
