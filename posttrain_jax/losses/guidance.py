"""How much a teacher has to say beside rewards: at each step, and on each completion.

Source: Xu et al. 2025 (KDRL, arXiv:2506.02208).
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from posttrain_jax.losses import group

Choice = Callable[[Float[Array, "P G"], Int[Array, "P"]], Float[Array, "P G"]]
"""From rewards and group ids to 1 on the completions that the teacher has a say in, 0 elsewhere."""


@dataclasses.dataclass(frozen=True)
class Falling:
    """A coefficient that falls with the steps: max(start - slope step, floor)."""

    start: float
    """At step 0."""
    slope: float
    """Taken off at each step; 0 leaves it at `start`."""
    floor: float
    """The smallest."""

    def __post_init__(self):
        if not (0 <= self.floor <= self.start and self.slope >= 0):
            raise ValueError(f"{self} does not fall from start to floor: choose 0 <= floor <= start and slope >= 0.")

    def __call__(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The coefficient."""
        return jnp.maximum(self.start - self.slope * step.astype(jnp.float32), self.floor)


def everything(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """Every completion."""
    return jnp.ones_like(rewards)


def failures(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """Completions that are wrong: whose reward is 0, of rewards that say correct (1) or not (0)."""
    return (rewards == 0).astype(rewards.dtype)


def failed_groups(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Float[Array, "P G"]:
    """Groups of which no completion is right: whose rewards are 0, or NaN where scoring failed."""
    best = group.maximum(jnp.nan_to_num(rewards), group_ids)
    return jnp.broadcast_to((best == 0).astype(rewards.dtype)[:, None], rewards.shape)
