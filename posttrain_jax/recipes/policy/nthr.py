"""Negative token hidden reward (Deng et al. 2025, arXiv:2505.18830).

    L = the recipe's, with advantages   A'_ik = eta A_i on tokens of wrong completions with s_ik > tau, else A_i
    tau = scale min over correct i of mean_k s_ik,   eta = 2 |1/2 - p|,   p the share of correct completions

s_ik is the influence of token k of completion i on the summed log-likelihood of the group's correct completions
(`Lookup.influences` with 1 on their tokens). Pushing such a token down would push right answers down with it: it is
punished less, and not at all where half of the completions are right. Influences include the completion's own; the
paper's text speaks of those on other correct ones, for which `influence.of_own_tokens` would be taken off (a single
correct one then has tau 0), its sum does not. The expected gradient is that of no fixed reward.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import difficulty, influence
from posttrain_jax.recipes import nested
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class NTHR:
    """An online recipe that spares the tokens of wrong completions on which right ones depend."""

    recipe: types.OnlineRecipe | types.InformedOnline = grpo.GRPO(kl_coef=1e-4)
    """Gives advantages, weights and loss."""
    scale: float = 1.0
    """Of the threshold (beta; 0 for the paper's distilled 1.5B model)."""
    above: float = 0.5
    """Completions with a reward above this are correct."""

    def __post_init__(self):
        if not math.isfinite(self.scale):
            raise ValueError(f"scale={self.scale} of the threshold must be finite.")

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> Any:
        """The recipe's."""
        return nested.init_memory(self.recipe)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """The recipe's, milder on wrong tokens of large influence on the group's correct completions."""
        batch, memory = nested.credit(self.recipe, rollout, rewards, columns, lookup, memory)
        ids, right = rollout.groups.group_ids, batch.completion_mask & (rewards > self.above)[:, :, None]
        influences = influence.asked(lookup, rollout, right.astype(jnp.float32))
        rates = difficulty.success_rate(rewards, ids, above=self.above)
        tau = influence.least_of_correct(influences, rewards > self.above, batch.completion_mask, ids)
        spared = (rewards <= self.above)[:, :, None] & (influences > self.scale * tau[:, None, None])
        eta = 2 * jnp.abs(0.5 - rates)[:, None, None]
        return dataclasses.replace(batch, advantages=batch.advantages * jnp.where(spared, eta, 1)), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return self.recipe.loss(policy, batch)
