"""Trust regions: which tokens may push, seen from how far the policy has moved.

A region is a frozen dataclass for a recipe to hold. All bounds are ratios' distances from 1; both ends are included,
and a token whose advantage is 0 is inside.

Source: Yao et al. 2025 (REC, arXiv:2509.24203).
"""

import dataclasses
import math
from typing import Protocol, runtime_checkable

import jax
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


def around(
    old_logps: Float[Array, "P G T"], *, low: float, high: float, cap: float
) -> tuple[Float[Array, "P G T"], Float[Array, "P G T"]]:
    """Distances of the ratio from 1, down and up, that keep |r - 1| p near the same for every probability.

    With q the old probability, r p - p <= eps bounds r by 1/2 + sqrt(1 + 4 high / q) / 2, held at `cap`, and by
    1/2 + sqrt(max(1 - 4 low / q, 0)) / 2 from below: unlikely tokens may move farther. For `surrogate.clipped`.

    Args:
        old_logps: at the start of the update, in nats.
        low: epsilon_low, a probability.
        high: epsilon_high, a probability.
        cap: the largest upper bound, an absolute ratio (r_max).

    Source: DCPO 2025 (arXiv:2509.02333), dynamic adaptive clipping.
    """
    old_logps = jax.lax.stop_gradient(old_logps)
    falls, rises = (jnp.exp(jnp.minimum(math.log(4 * eps) - old_logps, ratio.LIMIT)) for eps in (low, high))
    lower = 0.5 + 0.5 * jnp.sqrt(jnp.maximum(1 - falls, 0))
    upper = jnp.minimum(0.5 + 0.5 * jnp.sqrt(1 + rises), cap)
    return 1 - lower, upper - 1


def _check(low: float, high: float) -> None:
    if not (0 < low < 1 and high > 0):
        raise ValueError(f"low={low} must lie between 0 and 1 and high={high} above 0: they bound ratios around 1.")
