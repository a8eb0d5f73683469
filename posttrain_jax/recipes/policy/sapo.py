"""Soft adaptive policy optimization (Gao et al. 2025, arXiv:2511.20347).

    L = (1/N) sum_i (1/n_i) sum_t -(4 / tau) sigmoid(tau (r - 1)) A,   r = pi / pi_old
    tau = positive where A > 0, negative elsewhere;   A_i = (R_i - mean(R)) / std(R) within the group

Changes from GRPO: a smooth gate in the place of clipping, narrower for tokens to make less likely; no divergence from a
reference. On policy its gradient is GRPO's.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class SAPO:
    """Policy gradient under a soft gate around ratio 1."""

    positive: float = 1.0
    """Steepness of the gate where A > 0 (tau_pos)."""
    negative: float = 1.05
    """Steepness where A <= 0 (tau_neg)."""
    ddof: int = 1
    """The variance of a group is divided by its size less this: 1 as in TRL and verl, 0 the population's."""
    eps: float = 1e-6
    """Added to the standard deviation (verl 1e-6, TRL 1e-4)."""

    def __post_init__(self):
        if not (self.positive > 0 and self.negative > 0):
            raise ValueError(f"positive={self.positive} and negative={self.negative} are steepnesses: both above 0.")

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
        losses = surrogate.soft_gated(log_ratios, batch.advantages, positive=self.positive, negative=self.negative)
        return jnp.sum(batch.token_weights * losses), {"ratio": ratio.exp(log_ratios), "entropy": policy.entropy}
