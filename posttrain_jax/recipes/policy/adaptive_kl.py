"""Adaptive KL control (Ziegler et al. 2019, arXiv:1909.08593).

    the recipe's, on rewards   R_i - c_k sum_t log pi_sampler / pi_ref (y_it)
    c_{k+1} = c_k (1 + gain clip(KL / target - 1, -0.2, 0.2)),   KL the mean of these sums over the completions

The coefficient is remembered, so that the divergence from the reference stays near a target however the rewards are
scaled. The penalty is in the reward, where it has the gradient of KL(policy || ref) with any recipe whose expected
gradient is that of the reward; give the recipe none of its own (kl_coef=0).

Differs from the paper: the coefficient moves once a step, whatever the number of completions in it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import controller, divergence
from posttrain_jax.recipes import nested

METRICS = ("penalised_kl", "kl_coef")
"""Their names in the batch's `extra`."""


@dataclasses.dataclass(frozen=True)
class AdaptiveKL:
    """Any online recipe, on rewards less a divergence whose weight adapts."""

    recipe: types.OnlineRecipe | types.InformedOnline
    """What learns from them."""
    start: float
    """The first coefficient (beta)."""
    control: controller.Proportional
    """How it moves, with the target in nats a completion."""

    def __post_init__(self):
        if not self.start > 0:
            raise ValueError(f"start={self.start} could never move: choose a coefficient above 0.")

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> tuple[Array, Any]:
        """The coefficient, and what the recipe remembers."""
        return jnp.float32(self.start), nested.init_memory(self.recipe)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """The recipe's, on penalised rewards, and the next coefficient; failed completions do not count."""
        (coef, inner), groups = memory, rollout.groups
        ref_logps = lookup.ref(groups, rollout.kept_ids).logps
        kl = jnp.where(groups.completion_mask, divergence.k1_value(rollout.sampler.logps, ref_logps), 0)
        sums, counted = jnp.sum(kl, axis=-1), jnp.any(groups.completion_mask, axis=-1) & ~jnp.isnan(rewards)
        batch, inner = nested.credit(self.recipe, rollout, rewards - coef * sums, columns, lookup, inner)
        moved = jnp.where(jnp.any(counted), self.control(coef, masked.mean(sums, counted)), coef)
        told = dict(zip(METRICS, (sums, jnp.broadcast_to(coef, rewards.shape[:1])), strict=True))
        return dataclasses.replace(batch, extra={**batch.extra, **told}), (moved, inner)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        loss, metrics = self.recipe.loss(policy, batch)
        return loss, metrics | {name: batch.extra[name] for name in METRICS}
