"""Penalties of what should stay at or below 0, and the multipliers that some of them carry from step to step.

g is how far a number of the whole batch lies above its limit, lambda >= 0 its multiplier. A rule is a penalty of g and
lambda, and the next lambda. A penalty of a mean does not add over rows; its gradient is `pressure`, known before the
update, times the gradient of the mean. Limits are elements of arrays and do not see one another.

    minimise f   subject to g <= 0:   minimise f + penalty(g, lambda),   lambda <- update(g, lambda)

Source: textbook (Bertsekas 1982, Constrained Optimization and Lagrange Multiplier Methods).
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@runtime_checkable
class Rule(Protocol):
    """How a limit presses, and how its multiplier moves."""

    @property
    def start(self) -> float:
        """The multiplier before the first step."""
        ...

    def penalty(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """What is added to the objective that is minimised; differentiated in `g`."""
        ...

    def update(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """The multipliers after a step on which the limits were missed by `g`."""
        ...


def pressure(rule: Rule, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
    """d penalty / d g, itself without a gradient."""
    return jax.lax.stop_gradient(jax.grad(lambda x: jnp.sum(rule.penalty(x, multipliers)))(g))


@dataclasses.dataclass(frozen=True)
class DualAscent:
    """The Lagrangian: lambda g, lambda <- max(0, lambda + rate g).

    The last iterate may circle around the optimum of a linear problem, on which its average lies.
    """

    rate: float
    """Of the ascent (eta), in reward per squared unit of g."""
    start: float = 0.0
    """The first lambda."""

    def __post_init__(self):
        check_positive(rate=self.rate)

    def penalty(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """lambda g."""
        return multipliers * g

    def update(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """max(0, lambda + rate g)."""
        return jnp.maximum(multipliers + self.rate * g, 0)


@dataclasses.dataclass(frozen=True)
class LogDualAscent:
    """The same with a multiplier that stays above 0: log lambda <- log lambda + rate g.

    It must start above 0, and takes as long to come back from a small number as it took to go there.
    """

    rate: float
    """Of the ascent in log lambda (eta), per unit of g."""
    start: float = 1.0
    """The first lambda."""

    def __post_init__(self):
        check_positive(rate=self.rate, start=self.start)

    def penalty(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """lambda g."""
        return multipliers * g

    def update(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """lambda exp(rate g)."""
        return multipliers * jnp.exp(self.rate * g)


@dataclasses.dataclass(frozen=True)
class Augmented:
    """The augmented Lagrangian, free of slack: (max(0, lambda + c g)^2 - lambda^2) / (2 c).

    lambda <- max(0, lambda + c g). The square damps what dual ascent alone lets circle.
    """

    stiffness: float
    """Of the square (c), in reward per squared unit of g."""
    start: float = 0.0
    """The first lambda."""

    def __post_init__(self):
        check_positive(stiffness=self.stiffness)

    def penalty(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """(max(0, lambda + c g)^2 - lambda^2) / (2 c)."""
        return (self.update(g, multipliers) ** 2 - multipliers**2) / (2 * self.stiffness)

    def update(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """max(0, lambda + c g)."""
        return jnp.maximum(multipliers + self.stiffness * g, 0)


@dataclasses.dataclass(frozen=True)
class Equality:
    """For g = 0 instead of g <= 0: lambda g + (c / 2) g^2, lambda <- lambda + c g, of either sign."""

    stiffness: float
    """Of the square (c), in reward per squared unit of g."""
    start: float = 0.0
    """The first lambda."""

    def __post_init__(self):
        check_positive(stiffness=self.stiffness)

    def penalty(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """lambda g + (c / 2) g^2."""
        return multipliers * g + self.stiffness / 2 * g**2

    def update(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """lambda + c g."""
        return multipliers + self.stiffness * g


@dataclasses.dataclass(frozen=True)
class Hinge:
    """c max(0, g)^2: no multiplier, nothing within the limit, and never quite kept where the reward pulls across it."""

    weight: float
    """Of the square (c), in reward per squared unit of g."""

    def __post_init__(self):
        check_positive(weight=self.weight)

    @property
    def start(self) -> float:
        """There is no multiplier: 0 stands in its place."""
        return 0.0

    def penalty(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """c max(0, g)^2."""
        return self.weight * jnp.maximum(g, 0) ** 2

    def update(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """As they were."""
        return multipliers


@dataclasses.dataclass(frozen=True)
class Barrier:
    """-(1 / t) log(-g), and beyond g = -floor its tangent there: no multiplier, presses also within the limit.

    It never presses harder than 1 / (t floor): a reward that pulls harder crosses the limit.

    Source: Liu et al. 2019 (interior-point policy optimization, arXiv:1910.09615); the tangent is ours.
    """

    sharpness: float = 20.0
    """t: the larger, the nearer to the limit the optimum lies."""
    floor: float = 1e-3
    """Distance from the limit at which the tangent takes over."""

    def __post_init__(self):
        check_positive(sharpness=self.sharpness, floor=self.floor)

    @property
    def start(self) -> float:
        """There is no multiplier: 0 stands in its place."""
        return 0.0

    def penalty(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """The equation above."""
        held = jnp.minimum(g, -self.floor)
        return (jnp.maximum(g + self.floor, 0) / self.floor - jnp.log(-held)) / self.sharpness

    def update(self, g: Float[Array, "*k"], multipliers: Float[Array, "*k"]) -> Float[Array, "*k"]:
        """As they were."""
        return multipliers


def check_positive(**numbers: float) -> None:
    """Refuse numbers that make a penalty vanish or turn round."""
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name}={number} holds nothing back: choose it above 0.")
