"""Token hidden reward (Deng et al. 2025, arXiv:2510.03669).

    L = the recipe's, with advantages   A'_ik = 1[|THR_ik| > tau] (1 + push sign(THR_ik)) A_i
    THR_ik = s_ik in correct completions, -s_ik in wrong ones
    tau = scale min over correct i of mean_k s_ik

s_ik is the influence of token k of completion i on the mean log-likelihoods of the group's correct completions
(`Lookup.influences` with 1 / n_i on their tokens). Only tokens that matter for them are learned from: those that help
more (push > 0, exploitation) or those that hinder (push < 0, exploration). Groups of only right or only wrong
completions stay as they are. The expected gradient is that of no fixed reward.

Differs from the paper: its threshold is not stated; this is the rule of NTHR by the same authors.
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
class THR:
    """An online recipe on the tokens that move the likelihood of correct completions."""

    recipe: types.OnlineRecipe | types.InformedOnline = grpo.GRPO(kl_coef=1e-4)
    """Gives advantages, weights and loss."""
    push: float = 0.1
    """How much more helping tokens count than hindering ones (p); negative favours exploration."""
    scale: float = 1.0
    """Of the threshold (beta); 0 keeps every token with any influence."""
    above: float = 0.5
    """Completions with a reward above this are correct."""

    def __post_init__(self):
        if not (abs(self.push) <= 1 and math.isfinite(self.scale)):
            raise ValueError(f"push={self.push} must lie in [-1, 1] and scale={self.scale} be finite.")

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
        """The recipe's, reweighted by the influence of each token on the group's correct completions."""
        batch, memory = nested.credit(self.recipe, rollout, rewards, columns, lookup, memory)
        correct, ids = rewards > self.above, rollout.groups.group_ids
        shared = (batch.completion_mask & correct[:, :, None]).astype(jnp.float32)
        lengths = jnp.maximum(jnp.sum(shared, axis=-1, keepdims=True), 1)
        influences = influence.asked(lookup, rollout, shared / lengths)
        tau = self.scale * influence.least_of_correct(influences, correct, batch.completion_mask, ids)
        matters = jnp.abs(influences) > tau[:, None, None]
        signs = jnp.where(correct[:, :, None], 1, -1) * jnp.sign(influences)
        mixed = difficulty.Band(0.0, 1.0, above=self.above)(rewards, ids)[:, None, None]
        shares = jnp.where(mixed, jnp.where(matters, 1 + self.push * signs, 0), 1)
        return dataclasses.replace(batch, advantages=batch.advantages * shares), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return self.recipe.loss(policy, batch)
