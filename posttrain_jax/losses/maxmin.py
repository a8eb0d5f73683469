"""One reward out of several of which the worst counts: for the group of people, or the objective, that has least.

Rewards are [P, G, U], comparable with one another (bring each to the same scale first: a reward model's is known up to
a shift only); a completion without all of them has none. Memory holds the logarithms of the weights of the last rule.

Source: Chakraborty et al. 2024 (MaxMin-RLHF, arXiv:2402.08925).
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax.losses import limit


@runtime_checkable
class Rule(Protocol):
    """From rewards and the logarithms of weights to one reward and the weights that it was made with."""

    def __call__(
        self, each: Float[Array, "P G U"], log_weights: Float[Array, "U"]
    ) -> tuple[Float[Array, "P G"], Float[Array, "U"]]:
        """The reward, and what to remember."""
        ...


@dataclasses.dataclass(frozen=True)
class WorstOfBatch:
    """The reward with the lowest mean over the batch, for every completion: max_pi min_u E[r_u], as in the paper."""

    def __call__(
        self, each: Float[Array, "P G U"], log_weights: Float[Array, "U"]
    ) -> tuple[Float[Array, "P G"], Float[Array, "U"]]:
        """r_u*, u* = argmin mean(r_u); of equal ones the first."""
        complete = whole(each)
        worst = jax.nn.one_hot(jnp.argmin(limit.means(complete)), each.shape[-1])
        return combine(complete, worst), jnp.log(worst)


@dataclasses.dataclass(frozen=True)
class WorstOfEach:
    """The lowest reward of every completion: max_pi E[min_u r_u], a lower bound, as in the authors' code."""

    def __call__(
        self, each: Float[Array, "P G U"], log_weights: Float[Array, "U"]
    ) -> tuple[Float[Array, "P G"], Float[Array, "U"]]:
        """min_u r_u."""
        return jnp.min(whole(each), axis=-1), log_weights


@dataclasses.dataclass(frozen=True)
class Weighted:
    """Weights that grow where the mean is low: w_u <- w_u exp(-rate mean(r_u)) / sum. At rate 0 they stay equal."""

    rate: float
    """eta, per unit of reward."""

    def __post_init__(self):
        if not self.rate >= 0:
            raise ValueError(f"rate={self.rate} favours the objective that is best off: choose 0 or more.")

    def __call__(
        self, each: Float[Array, "P G U"], log_weights: Float[Array, "U"]
    ) -> tuple[Float[Array, "P G"], Float[Array, "U"]]:
        """sum_u w_u r_u, w moved first."""
        complete = whole(each)
        log_weights = jax.nn.log_softmax(log_weights - self.rate * limit.means(complete))
        return combine(complete, jnp.exp(log_weights)), log_weights


def whole(each: Float[Array, "P G U"]) -> Float[Array, "P G U"]:
    """NaN throughout where any is NaN."""
    return jnp.where(jnp.any(jnp.isnan(each), axis=-1, keepdims=True), jnp.nan, each)


def combine(each: Float[Array, "P G U"], weights: Float[Array, "U"]) -> Float[Array, "P G"]:
    """sum_u w_u r_u."""
    return jnp.einsum("pgu,u->pg", each, weights, precision="highest")
