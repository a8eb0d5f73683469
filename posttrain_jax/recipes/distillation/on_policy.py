"""Distillation on the student's own completions (Agarwal et al. 2023, arXiv:2306.13649, algorithm 1 with lambda = 1).

    L = the recipe's, of completions that the student samples

Rewards only say which completions count: those whose reward is NaN do not. Where all are the same, the loop is told so
(`Online(refuse_equal_rewards=False)`). With the reverse KL the expected gradient is that of `divergence.k2_loss` on
the sampled tokens, with less noise: prefixes are held still.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison, types
from posttrain_jax.recipes.distillation import gkd


@dataclasses.dataclass(frozen=True)
class OnPolicy:
    """A distillation recipe whose completions the student samples."""

    recipe: gkd.GKD = gkd.GKD()
    """What compares student and teacher."""

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def comparisons(self, batch: types.LikelihoodBatch) -> Mapping[str, comparison.Comparison]:
        """As the recipe's."""
        return self.recipe.comparisons(batch)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.LikelihoodBatch:
        """The recipe's of the completions that could be scored."""
        groups = rollout.groups
        scored = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        inner = self.recipe.credit(dataclasses.replace(groups, completion_mask=scored), ref_logps)
        return dataclasses.replace(inner, completion_mask=groups.completion_mask)

    def loss(self, policy: types.TokenStats, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """As the recipe's."""
        return self.recipe.loss(policy, batch)
