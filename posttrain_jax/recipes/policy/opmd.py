"""Online policy mirror descent as a loss (Kimi Team 2025, arXiv:2501.12599; REP of Yao et al. 2025, arXiv:2509.24203).

    L = (1 / sum_i n_i) sum_i sum_t [ -A_i log pi(y_it) + drift_coef (log pi / pi_old)^2 ]
    A_i = R_i - mean(R) within the group

No ratio and no clipping: the squared drift keeps the policy near the one that sampled, and is right for completions of
any age. Its expected gradient on policy is that of centred rewards averaged over tokens, the drift being 0 there.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class OPMD:
    """REINFORCE with centred rewards, held by the squared log-ratio."""

    drift_coef: float = 0.1
    """Weight of the squared log-ratio (tau / 2)."""

    def __post_init__(self):
        if not self.drift_coef >= 0:
            raise ValueError(f"drift_coef={self.drift_coef} rewards moving away: choose 0 or more.")

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
            token_weights=weight.token_mean(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.reinforce(policy.logps, batch.advantages) + self.drift_coef * log_ratios**2
        return jnp.sum(batch.token_weights * losses), {"ratio": ratio.exp(log_ratios), "entropy": policy.entropy}
