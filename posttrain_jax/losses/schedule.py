"""Numbers that change over a run: functions of the step, which is traced, so that no step compiles anew.

Any function of a step will do where one is asked for, those of optax among them.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Schedule = Callable[[Float[Array, ""]], Float[Array, ""]]
"""From the steps done before to a number."""


@dataclasses.dataclass(frozen=True)
class Cosine:
    """end + (start - end) (1 + cos(pi min(s / steps, 1))) / 2: half a cosine, then constant.

    Source: Loshchilov and Hutter 2017 (arXiv:1608.03983), one cycle.
    """

    start: float
    """At step 0."""
    end: float
    """From step `steps` on."""
    steps: int
    """That it takes."""

    def __post_init__(self):
        _check(self.steps)

    def __call__(self, step: Float[Array, ""]) -> Float[Array, ""]:
        """The number at `step`."""
        share = jnp.minimum(step / self.steps, 1)
        return self.end + 0.5 * (self.start - self.end) * (1 + jnp.cos(jnp.pi * share))


@dataclasses.dataclass(frozen=True)
class Linear:
    """start + (end - start) min(s / steps, 1)."""

    start: float
    """At step 0."""
    end: float
    """From step `steps` on."""
    steps: int
    """That it takes."""

    def __post_init__(self):
        _check(self.steps)

    def __call__(self, step: Float[Array, ""]) -> Float[Array, ""]:
        """The number at `step`."""
        return self.start + (self.end - self.start) * jnp.minimum(step / self.steps, 1)


@dataclasses.dataclass(frozen=True)
class Valley:
    """From the middle of low and high down to low at step `turn`, then up to high at step `steps`, and there it stays.

    Source: Liu et al. 2025 (OThink-MR1, arXiv:2503.16081), eq. 5, as printed: its prose has it grow from the start,
    which is `Linear(low, high, steps)`.
    """

    low: float
    """b_min."""
    high: float
    """b_max."""
    turn: int
    """The step at which it is lowest (w)."""
    steps: int
    """The step at which it is highest (t)."""

    def __post_init__(self):
        if not 0 < self.turn < self.steps:
            raise ValueError(f"turn={self.turn} must lie between 0 and steps={self.steps}.")

    def __call__(self, step: Float[Array, ""]) -> Float[Array, ""]:
        """The number at `step`."""
        middle = (self.low + self.high) / 2
        falling = middle - (middle - self.low) * step / self.turn
        rising = self.low + (self.high - self.low) * (step - self.turn) / (self.steps - self.turn)
        return jnp.where(step <= self.turn, falling, jnp.minimum(rising, self.high))


def _check(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps={steps} is no way to go: take at least 1.")
