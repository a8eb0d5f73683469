"""GRPO with two-sided clipping (Prime Intellect 2025, INTELLECT-2, arXiv:2505.07291).

    L = (1/N) sum_i (1/n_i) sum_t [ -min(min(r, delta) A, clip(r, 1 - eps, 1 + eps) A) + kl_coef (e^d - d - 1) ]

Changes from GRPO: ratios beyond delta stop pushing for negative advantages too, where GRPO's loss has no bound. On
policy its gradient is GRPO's.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import ratio, surrogate
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class TwoSidedGRPO:
    """GRPO whose loss is bounded on both sides."""

    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.001)
    """Gives credit, clip ranges and the weight of the divergence."""
    delta: float = 4.0
    """The largest ratio of a token with negative advantage."""

    def __post_init__(self):
        if not self.delta > 1 + self.recipe.clip_high:
            raise ValueError(f"delta={self.delta} must lie above 1 + clip_high={1 + self.recipe.clip_high}.")

    @property
    def needs_ref(self) -> bool:
        """As GRPO does."""
        return self.recipe.needs_ref

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """GRPO's."""
        return self.recipe.credit(rollout, rewards, ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        low, high = self.recipe.clip_low, self.recipe.clip_high
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.dual_clipped(log_ratios, batch.advantages, low=low, high=high, cap=self.delta)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=low, high=high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        if self.needs_ref:
            if batch.ref_logps is None:
                raise ValueError(f"kl_coef={self.recipe.kl_coef} needs a reference: give ref_logps, or set it to 0.")
            metrics["kl"] = self.recipe.penalty(policy.logps, batch.ref_logps)
            losses += self.recipe.kl_coef * metrics["kl"]
        return jnp.sum(batch.token_weights * losses), metrics
