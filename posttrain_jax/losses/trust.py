"""Trust regions: which tokens may push, seen from how far the policy has moved.

A region is a frozen dataclass for a recipe to hold. All bounds are ratios' distances from 1; both ends are included,
and a token whose advantage is 0 is inside.

Source: Yao et al. 2025 (REC, arXiv:2509.24203).
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax.losses import ratio


@runtime_checkable
class Region(Protocol):
    """Where tokens may push."""

    def __call__(self, log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"]) -> Bool[Array, "P G T"]:
        """True inside."""
        ...


@dataclasses.dataclass(frozen=True)
class Everywhere:
    """No token is left out."""

    def __call__(self, log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"]) -> Bool[Array, "P G T"]:
        """True."""
        return jnp.ones(log_ratios.shape, bool)


@dataclasses.dataclass(frozen=True)
class OneSided:
    """As in PPO: out is a token that has moved too far in the direction of its advantage."""

    low: float = 0.2
    """How far below 1 the ratio may fall before a negative advantage stops pushing."""
    high: float = 0.2
    """How far above 1 it may rise before a positive one does."""

    def __post_init__(self):
        _check(self.low, self.high)

    def __call__(self, log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"]) -> Bool[Array, "P G T"]:
        """True where A >= 0 and r <= 1 + high, or A <= 0 and r >= 1 - low."""
        r = ratio.exp(log_ratios)
        return ((advantages >= 0) & (r <= 1 + self.high)) | ((advantages <= 0) & (r >= 1 - self.low))


@dataclasses.dataclass(frozen=True)
class TwoSided:
    """Out is every token that has moved too far, whatever its advantage."""

    low: float = 0.2
    """How far below 1 the ratio may lie."""
    high: float = 0.2
    """How far above 1 it may lie."""

    def __post_init__(self):
        _check(self.low, self.high)

    def __call__(self, log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"]) -> Bool[Array, "P G T"]:
        """True where 1 - low <= r <= 1 + high."""
        r = ratio.exp(log_ratios)
        return (r >= 1 - self.low) & (r <= 1 + self.high)


@dataclasses.dataclass(frozen=True)
class Ring:
    """`TwoSided`, and tokens that have moved far against their advantage may push back."""

    low: float = 0.2
    """How far below 1 the ratio may lie."""
    high: float = 0.2
    """How far above 1 it may lie."""
    far_low: float = 0.6
    """At or below 1 less this, tokens of positive advantage push again."""
    far_high: float = 2.0
    """At or above 1 plus this, tokens of negative advantage push again."""

    def __post_init__(self):
        _check(self.low, self.high)
        if not (self.far_low >= self.low and self.far_high >= self.high):
            raise ValueError(
                f"far_low={self.far_low} and far_high={self.far_high} must not be nearer than "
                f"low={self.low} and high={self.high}: the outer ring begins outside the inner range."
            )

    def __call__(self, log_ratios: Float[Array, "P G T"], advantages: Float[Array, "P G T"]) -> Bool[Array, "P G T"]:
        """True in the range of `TwoSided`, where A >= 0 and r <= 1 - far_low, or A <= 0 and r >= 1 + far_high."""
        r = ratio.exp(log_ratios)
        inner = TwoSided(self.low, self.high)(log_ratios, advantages)
        back = ((advantages >= 0) & (r <= 1 - self.far_low)) | ((advantages <= 0) & (r >= 1 + self.far_high))
        return inner | back


def _check(low: float, high: float) -> None:
    if not (0 < low < 1 and high > 0):
        raise ValueError(f"low={low} must lie between 0 and 1 and high={high} above 0: they bound ratios around 1.")
