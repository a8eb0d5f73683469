"""GRPO done right (Liu et al. 2025, arXiv:2503.20783, section 3.2).

    L = (1 / (N max_length)) sum_i sum_t -min(r A, clip(r, 1 - eps, 1 + eps) A),   A_i = R_i - mean(R) within the group

Changes from GRPO: no division by the group's standard deviation nor by the completion's length, no divergence from a
reference. On policy its expected gradient is that of the expected reward, times (1 - 1/G) / max_length.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class DrGRPO:
    """Clipped policy gradient, rewards centred within the group, summed over tokens and divided by a constant."""

    max_length: int
    """Tokens a completion may have: the constant that sums over tokens are divided by."""
    clip_low: float = 0.2
    """Lower clip range (epsilon)."""
    clip_high: float = 0.2
    """Upper clip range (epsilon)."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_low, high=self.clip_high)
        if self.max_length < 1:
            raise ValueError(f"max_length={self.max_length} divides the loss: choose the generation budget, 1 or more.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages within groups; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        advantages = advantage.group_centered(rewards, groups.group_ids)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.fixed_length(counted, length=self.max_length),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
