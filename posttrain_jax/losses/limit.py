"""Limits on the means of rewards: how far a batch is from keeping them, and what that adds to each reward."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked
from posttrain_jax.losses import multiplier


@dataclasses.dataclass(frozen=True)
class AtMost:
    """mean(reward) <= bound: a cost, a length."""

    name: str
    """Of the reward."""
    bound: float
    """In its unit."""

    @property
    def title(self) -> str:
        """Its name in reports."""
        return f"{self.name}<={self.bound:g}"

    def excess(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """g = reward - bound."""
        return values - self.bound


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """mean(reward) >= bound: another objective that must not suffer."""

    name: str
    """Of the reward."""
    bound: float
    """In its unit."""

    @property
    def title(self) -> str:
        """Its name in reports."""
        return f"{self.name}>={self.bound:g}"

    def excess(self, values: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """g = bound - reward."""
        return self.bound - values


Limit = AtMost | AtLeast


def gather(columns: Mapping[str, Float[Array, "P G"]], names: Sequence[str]) -> Float[Array, "P G K"]:
    """The rewards of these names.

    Raises:
        ValueError: there is none of some name.
    """
    if missing := sorted(set(names) - set(columns)):
        raise ValueError(
            f"the recipe reads {', '.join(missing)}; the rewards are {', '.join(columns) or 'none'}: name one of these,"
            " or add it with weight 0."
        )
    return jnp.stack([columns[name] for name in names], axis=-1)


def means(each: Float[Array, "P G K"]) -> Float[Array, "K"]:
    """Of each reward over the batch, where it is not NaN."""
    return masked.mean(each, ~jnp.isnan(each), axis=(0, 1))


def excesses(limits: Sequence[Limit], columns: Mapping[str, Float[Array, "P G"]]) -> Float[Array, "P G K"]:
    """g of every completion under each limit, NaN where the reward does not apply."""
    each = gather(columns, [limit.name for limit in limits])
    return jnp.stack([limit.excess(each[..., k]) for k, limit in enumerate(limits)], axis=-1)


def held_back(
    rewards: Float[Array, "P G"],
    excess: Float[Array, "P G K"],
    rule: multiplier.Rule,
    multipliers: Float[Array, "K"],
) -> Float[Array, "P G"]:
    """reward - sum_k pressure_k (g_k - mean(g_k)): its policy gradient is that of E[reward] - sum_k penalty(E[g_k]).

    Args:
        rewards: of the objective; NaN stays.
        excess: g; a NaN adds nothing.
        rule: turns the batch's means of g into pressures.
        multipliers: lambda.
    """
    mean = means(excess)
    pressures = multiplier.pressure(rule, mean, multipliers)
    beyond = jnp.where(jnp.isnan(excess), 0, excess - mean[None, None])
    return rewards - jnp.einsum("pgk,k->pg", beyond, pressures, precision="highest")
