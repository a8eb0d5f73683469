"""Lite PPO (Liu et al. 2025, arXiv:2508.08221).

    L = (1 / sum_i n_i) sum_i sum_t -min(r A, clip(r, 1 - eps, 1 + eps) A)
    A_i = (R_i - mean(R) within the group) / std(R) of the batch

Changes from GRPO: the spread is that of all rewards of the batch, so that groups which nearly agree are not blown up;
every token weighs the same; no divergence from a reference. The spread is common to the batch, so the direction of the
gradient is that of centred rewards averaged over tokens.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class LitePPO:
    """Token-mean clipped policy gradient, rewards centred within the group and scaled over the batch."""

    clip_low: float = 0.2
    """Lower clip range (epsilon)."""
    clip_high: float = 0.2
    """Upper clip range (epsilon)."""
    ddof: int = 1
    """The variance of the batch is divided by its size less this: 1 as in TRL, 0 the population's."""
    eps: float = 1e-4
    """Added to the standard deviation (TRL 1e-4)."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_low, high=self.clip_high)

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
        advantages = advantage.over_reward_std(rewards, groups.group_ids, ddof=self.ddof, eps=self.eps)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.token_mean(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
