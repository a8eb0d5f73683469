"""Geometric-mean policy optimization (Zhao et al. 2025, arXiv:2507.20673).

    L = -(1/N) sum_i A_i exp( (1/n_i) sum_t l_it ),   A_i = (R_i - mean(R)) / std(R) within the group
    l = min(log pi / pi_old, clip_high) where A > 0, max(log pi / pi_old, -clip_low) where A < 0

Changes from GRPO: tokens' ratios are averaged geometrically, which outliers move less, and each is held back before
(GSPO clips the mean instead); no divergence from a reference. On policy its gradient is GRPO's.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class GMPO:
    """Policy gradient with the geometric mean of ratios that are held back token by token."""

    clip_low: float = 0.4
    """How far a log-ratio may fall, in nats (the paper's range is e^-0.4 to e^0.4)."""
    clip_high: float = 0.4
    """How far it may rise, in nats."""
    ddof: int = 1
    """The variance of a group is divided by its size less this: 1 as in TRL and verl, 0 the population's."""
    eps: float = 1e-6
    """Added to the standard deviation (verl 1e-6, TRL 1e-4)."""

    def __post_init__(self):
        if not (self.clip_low > 0 and self.clip_high > 0):
            raise ValueError(f"clip_low={self.clip_low} and clip_high={self.clip_high} are nats: choose them above 0.")

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
        held = ratio.one_sided(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        pooled = ratio.sequence_mean(held, batch.completion_mask)
        losses = surrogate.importance_weighted(pooled, batch.advantages)
        cut = ((held != log_ratios) & (batch.advantages != 0)).astype(held.dtype)
        metrics = {"ratio": ratio.exp(pooled), "clip_fraction": cut, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
