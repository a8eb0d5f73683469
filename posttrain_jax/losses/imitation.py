"""Utilities phi(x) of a demonstration's implicit reward x, for imitation under f-divergences.

Fitting the policy's distribution to that of demonstrations under D_f, with rewards r, pays for E_demo[phi(r)] with
phi(x) = min_u [x u + f(u)] = -f*(-x). All are concave. With phi(x) = x every demonstration is pushed for ever alike,
which is SFT; the others push less what the policy already likes better than the reference does.

Each is a value: a frozen dataclass that is called. Below the point where the slope reaches `STEEPEST` phi goes on as
its tangent, so that it is defined, and pushes, everywhere.

Source: Wang et al. 2025 (arXiv:2507.00018); Garg et al. 2021 (IQ-Learn, arXiv:2106.12142). The table is derived from
the conjugates.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

STEEPEST = 10.0
"""The most that a demonstration is pushed, in units of SFT's push."""


@runtime_checkable
class Utility(Protocol):
    """From implicit rewards to utilities."""

    def __call__(self, rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """phi(x)."""
        ...


@dataclasses.dataclass(frozen=True)
class TotalVariation:
    """phi(x) = x: SFT, whatever the reference."""

    def __call__(self, rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """phi(x)."""
        return rewards


@dataclasses.dataclass(frozen=True)
class ChiSquared:
    """f(u) = (u - 1)^2: phi(x) = x - x^2 / 4.

    Beyond x = 2, where the conjugate on u >= 0 stays at 1, the parabola turns back, as in IQ-Learn: a demonstration
    that is liked too well is pushed down. It needs no tangent: its slope grows only linearly.
    """

    def __call__(self, rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """phi(x)."""
        return rewards - rewards**2 / 4


@dataclasses.dataclass(frozen=True)
class SquaredHellinger:
    """f(u) = (sqrt(u) - 1)^2: phi(x) = x / (1 + x), for x > -1."""

    def __call__(self, rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """phi(x)."""
        return _continued(lambda x: x / (1 + x), rewards, start=1 / math.sqrt(STEEPEST) - 1)


@dataclasses.dataclass(frozen=True)
class JensenShannon:
    """f(u) = u log u - (u + 1) log((u + 1) / 2): phi(x) = log(2 - exp(-x)), for x > -log 2."""

    def __call__(self, rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """phi(x)."""
        return _continued(lambda x: jnp.log(2 - jnp.exp(-x)), rewards, start=-math.log(2 * STEEPEST / (1 + STEEPEST)))


@dataclasses.dataclass(frozen=True)
class ReverseKL:
    """f(u) = u log u: phi(x) = -exp(-x - 1)."""

    def __call__(self, rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """phi(x)."""
        return _continued(lambda x: -jnp.exp(-x - 1), rewards, start=-1 - math.log(STEEPEST))


@dataclasses.dataclass(frozen=True)
class ForwardKL:
    """f(u) = -log u: phi(x) = 1 + log x, for x > 0. At the reference, x = 0, every demonstration is pushed hardest."""

    def __call__(self, rewards: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """phi(x)."""
        return _continued(lambda x: 1 + jnp.log(x), rewards, start=1 / STEEPEST)


def _continued(
    phi: Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]], x: Float[Array, "*shape"], *, start: float
) -> Float[Array, "*shape"]:
    """phi from `start` on, and below it the tangent there, whose slope is STEEPEST."""
    inside = jnp.maximum(x, start)
    return phi(inside) + STEEPEST * (x - inside)
