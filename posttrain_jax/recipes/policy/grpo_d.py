"""GRPO-D: GRPO whose divergence weighs by a schedule (OThink-MR1, Liu et al. 2025, arXiv:2503.16081, eq. 1 to 5).

    L = the held recipe's + kl_coef(s) sum w (e^d - d - 1),   d = log pi_ref / pi,   s the rollouts learned from before
    kl_coef(s): from the middle of low and high down to low at step `turn`, up to high at the end

Explore first, hold on to what was found later. A schedule of one number is GRPO. The expected gradient is the held
recipe's, and kl_coef(s) times that of KL(ref || policy), token by token.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import schedule
from posttrain_jax.recipes.policy import grpo, kl_weighted


@dataclasses.dataclass(frozen=True)
class GRPOD:
    """GRPO, held to the reference by a weight that changes over the run."""

    kl_coef: schedule.Schedule
    """Weight of the divergence by step (beta): `schedule.Valley(0.04, 0.1, turn=300, steps=1000)`."""
    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.0)
    """Gives advantages, token weights and the rest of the loss."""

    def __post_init__(self):
        kl_weighted.check(self.recipe)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> Float[Array, ""]:
        """Steps done."""
        return jnp.float32(0)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Any, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Float[Array, ""]]:
        """GRPO's, and what the divergence weighs today."""
        batch = self.recipe.credit(rollout, rewards, lookup.ref(rollout.groups, rollout.kept_ids).logps)
        return kl_weighted.credit(batch, self.kl_coef(memory) * batch.token_weights), memory + 1

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        return kl_weighted.loss(self.recipe, policy, batch)
