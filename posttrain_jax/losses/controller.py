"""Coefficients that follow a measured number towards a target: from the coefficient and the number to the next one.

`Proportional` is for what is to be held down (a divergence), `Stepwise` and `Dual` for what is to be held up (entropy).

Source: Ziegler et al. 2019 (arXiv:1909.08593, section 2.2) for `Proportional`; He et al. 2025 (Skywork-OR1,
arXiv:2505.22312, adaptive entropy control) for `Stepwise`; Haarnoja et al. 2018 (SAC, arXiv:1812.05905, section 5) for
`Dual`.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class Proportional:
    """c <- c (1 + gain clip(x / target - 1, -limit, limit)): rises where x is too large."""

    target: float
    """Of the measured number."""
    gain: float = 0.1
    """Share of the error that c moves by (K_beta); libraries write completions per step over a horizon."""
    limit: float = 0.2
    """Largest relative error that counts."""

    def __post_init__(self):
        if not (self.target > 0 and self.gain > 0 and 0 < self.gain * self.limit < 1):
            raise ValueError(f"target={self.target} and gain={self.gain} must be above 0, and gain x limit below 1.")

    def __call__(self, coef: Float[Array, ""], measured: Float[Array, ""]) -> Float[Array, ""]:
        """The next coefficient."""
        return coef * (1 + self.gain * jnp.clip(measured / self.target - 1, -self.limit, self.limit))


@dataclasses.dataclass(frozen=True)
class Stepwise:
    """c <- max(c + step, 0) where x is below the target, max(c - step, 0) elsewhere."""

    target: float
    """Of the measured number."""
    step: float = 0.005
    """What c moves by (Delta)."""

    def __post_init__(self):
        if not self.step > 0:
            raise ValueError(f"step={self.step} must be above 0.")

    def __call__(self, coef: Float[Array, ""], measured: Float[Array, ""]) -> Float[Array, ""]:
        """The next coefficient."""
        return jnp.maximum(coef + jnp.where(measured < self.target, self.step, -self.step), 0)


@dataclasses.dataclass(frozen=True)
class Dual:
    """c <- c exp(rate (target - x)): a gradient step on log c of c (x - target), for numbers to be held up."""

    target: float
    """Of the measured number."""
    rate: float
    """Of the step."""

    def __post_init__(self):
        if not self.rate > 0:
            raise ValueError(f"rate={self.rate} must be above 0.")

    def __call__(self, coef: Float[Array, ""], measured: Float[Array, ""]) -> Float[Array, ""]:
        """The next coefficient."""
        return coef * jnp.exp(self.rate * (self.target - measured))
