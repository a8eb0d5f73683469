"""Two rewards, the first of which hands over to the second (Datarus-R1, Ben Chaliah et al. 2025, arXiv:2508.13382).

    L = the held recipe's, with rewards   R = w(s) R_first + (1 - w(s)) R_second,   s the rollouts learned from before
    w(s) = w_1 + (w_0 - w_1) (1 + cos(pi min(s / steps, 1))) / 2

First the form is learned, then what it is for: R_first the share of structural checks passed (`format.Tags`), R_second
a judge's. Constant w is a fixed mixture. As the scale of rewards moves, means of different steps do not compare: look
at the columns. The expected gradient is the held recipe's, on today's mixture.

Reconstructed from the abstract: w_0 = 0.9 and w_1 = 0.1 are ours, and so is reading the judge of steps and the judge of
the whole as one column, which `WeightedRewards` of two can be.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import schedule
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class Handover:
    """Any online recipe, on a mixture of two rewards that changes over the run."""

    first: str
    """Name of the reward that begins (R_struct)."""
    second: str
    """Name of the reward that ends (R_hrm)."""
    share: schedule.Schedule
    """What the first weighs by step (w): `schedule.Cosine(0.9, 0.1, steps)`."""
    recipe: types.OnlineRecipe = grpo.GRPO()
    """What learns from the mixture."""

    @property
    def needs_ref(self) -> bool:
        """As the held recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> Float[Array, ""]:
        """Steps done."""
        return jnp.float32(0)

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        columns: Mapping,
        lookup: types.Lookup,
        memory: Float[Array, ""],
    ) -> tuple[types.PolicyBatch, Float[Array, ""]]:
        """The recipe's, of today's mixture; completions for which one reward is NaN do not count."""
        if missing := {self.first, self.second} - set(columns):
            raise ValueError(
                f"Handover reads {', '.join(sorted(missing))}; the rewards are {', '.join(columns) or 'none'}."
            )
        share = self.share(memory)
        mixed = share * columns[self.first] + (1 - share) * columns[self.second]
        mixed = jnp.where(jnp.isnan(rewards), jnp.nan, mixed)
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if self.needs_ref else None
        return self.recipe.credit(rollout, mixed, ref_logps), memory + 1

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The held recipe's."""
        return self.recipe.loss(policy, batch)
