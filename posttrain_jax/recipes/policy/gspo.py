"""Group sequence policy optimization (Zheng et al. 2025, arXiv:2507.18071, eq. 5 to 7).

    L = (1/N) sum_i -min(s_i A_i, clip(s_i, 1 - eps_low, 1 + eps_high) A_i)
    s_i = (pi(y_i) / pi_old(y_i))^(1 / n_i),   A_i = (R_i - mean(R)) / std(R) within the group

Changes from GRPO: one ratio for the whole completion, the geometric mean of its tokens' (not their product, which grows
with the length), clipped as a whole and tightly; no divergence from a reference. On policy its gradient is GRPO's.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class GSPO:
    """Clipped policy gradient with one ratio for each completion."""

    clip_low: float = 3e-4
    """Lower clip range (epsilon_low)."""
    clip_high: float = 4e-4
    """Upper clip range (epsilon_high)."""
    ddof: int = 1
    """The variance of a group is divided by its size less this: 1 as in TRL and verl, 0 the population's."""
    eps: float = 1e-6
    """Added to the standard deviation (verl 1e-6, TRL 1e-4)."""

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
        advantages = advantage.group_zscore(rewards, groups.group_ids, ddof=self.ddof, eps=self.eps)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.sequence_mean(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        log_ratios = ratio.sequence_mean(log_ratios, batch.completion_mask)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
