"""Which groups are worth learning from, seen from their rewards."""

import dataclasses
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from posttrain_jax.losses import group


@runtime_checkable
class Rule(Protocol):
    """From the rewards of a batch to the rows whose group is learned from."""

    def __call__(self, rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Bool[Array, "P"]:
        """True on rows to keep; rewards are NaN where scoring failed."""
        ...


def success_rate(rewards: Float[Array, "P G"], group_ids: Int[Array, "P"], *, above: float) -> Float[Array, "P"]:
    """Share of the group's scored completions with a reward above `above`; 0 where none was scored."""
    scored = group.total((~jnp.isnan(rewards)).astype(rewards.dtype), group_ids)
    return group.total((rewards > above).astype(rewards.dtype), group_ids) / jnp.maximum(scored, 1)


def room(rates: Float[Array, "*shape"], *, beta: float) -> Float[Array, "*shape"]:
    """How far the policy lies from the best one: KL(pi || pi*) in nats, pi* proportional to pi exp(r / beta).

    log(1 - p + p exp(1 / beta)) - p / beta for a reward r that is 1 with probability p and else 0: for large beta
    p (1 - p) / (2 beta^2), largest where half of the completions succeed. That is no bound: for small beta the exact
    value is the smaller.

    Args:
        rates: success rates p.
        beta: temperature of the reward.

    Source: Bae et al. 2025 (arXiv:2504.03380).
    """
    return jnp.logaddexp(jnp.log1p(-rates), jnp.log(rates) + 1 / beta) - rates / beta


@dataclasses.dataclass(frozen=True)
class Band:
    """Groups that succeed neither too seldom nor too often: low < share of successes < high.

    Both ends are open; to include one, move it by less than one completion's share. Low below 0, or high above 1, cuts
    one side alone; low 0 and high 1 keep what dynamic sampling keeps. Low 0 and high 2 keep prompts that are solved at
    least once: with samples of the policy that training starts from, the filter of RIF (Lai et al. 2025,
    arXiv:2507.05386).

    Source: Bae et al. 2025 (arXiv:2504.03380); the numbers are from two descriptions of it.
    """

    low: float = 0.2
    """Share of successes at or below which a prompt is too hard (T_low); 1 - high for a balanced band."""
    high: float = 0.8
    """Share at or above which it is too easy (T_high)."""
    above: float = 0.5
    """A reward above this is a success."""

    def __post_init__(self):
        if not (self.low < self.high and self.low < 1 and self.high > 0):
            raise ValueError(f"no share of successes lies between low={self.low} and high={self.high}.")

    def __call__(self, rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Bool[Array, "P"]:
        """True where the rate lies inside."""
        rates = success_rate(rewards, group_ids, above=self.above)
        return (rates > self.low) & (rates < self.high)


@dataclasses.dataclass(frozen=True)
class Spread:
    """Groups whose best and worst reward are more than `above` apart.

    Source: Li et al. 2025 (DMOSpeech 2, arXiv:2507.14988), as in the authors' code.
    """

    above: float = 0.01
    """In the unit of the reward."""

    def __post_init__(self):
        if not self.above >= 0:
            raise ValueError(f"above={self.above} keeps groups of equal rewards: choose 0 or more.")

    def __call__(self, rewards: Float[Array, "P G"], group_ids: Int[Array, "P"]) -> Bool[Array, "P"]:
        """True where they are."""
        failed = jnp.isnan(rewards)
        best = group.maximum(jnp.where(failed, -jnp.inf, rewards), group_ids)
        worst = group.minimum(jnp.where(failed, jnp.inf, rewards), group_ids)
        return best - worst > self.above
