"""Distillation on the student's own completions (Agarwal et al. 2023, arXiv:2306.13649, algorithm 1 with lambda = 1).

    L = the recipe's, of completions that the student samples

Rewards only say which completions count: those whose reward is NaN do not. Where all are the same, the loop is told so
(`Online(refuse_equal_rewards=False)`). With the reverse KL the expected gradient is that of `divergence.k2_loss` on
the sampled tokens, with less noise: prefixes are held still.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from posttrain_jax import comparison, types
from posttrain_jax.recipes import asked
from posttrain_jax.recipes.distillation import align_distil, gkd, live_top_k, sink_kd, top_k

Distilling = gkd.GKD | align_distil.AlignDistil | live_top_k.LiveTopK | sink_kd.SinKD | top_k.TopK


@dataclasses.dataclass(frozen=True)
class OnPolicy:
    """A distillation recipe whose completions the student samples."""

    recipe: Distilling = gkd.GKD()
    """What compares the student with fixed models; `TopK`, whose teacher has run before, is refused."""

    def __post_init__(self):
        if isinstance(self.recipe, top_k.TopK):
            raise ValueError("TopK's teacher is stored and has not seen own completions: take LiveTopK, whose runs.")

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def comparisons(self, batch: types.LikelihoodBatch) -> Mapping[str, comparison.Request]:
        """As the recipe's."""
        return self.recipe.comparisons(batch)

    def init_memory(self) -> PyTree:
        """As the recipe's."""
        return self.recipe.init_memory() if isinstance(self.recipe, types.InformedOffline) else ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Any, lookup: types.Lookup, memory: PyTree
    ) -> tuple[types.LikelihoodBatch, PyTree]:
        """The recipe's of the completions that could be scored."""
        groups = rollout.groups
        scored = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        given = dataclasses.replace(groups, completion_mask=scored)
        if isinstance(self.recipe, types.InformedOffline):
            inner, memory = self.recipe.credit(given, {}, asked.under(lookup, given, rollout.kept_ids), memory)
        else:
            inner = self.recipe.credit(given)
        return dataclasses.replace(inner, completion_mask=groups.completion_mask), memory

    def loss(self, policy: types.TokenStats, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """As the recipe's."""
        return self.recipe.loss(policy, batch)
