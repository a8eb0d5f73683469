"""Clipped importance sampling policy optimization (MiniMax 2025, arXiv:2506.13585, eq. 4 and 5).

    L = (1 / sum_i n_i) sum_i sum_t -sg(min(r, cap)) A log pi(y_it),   r = pi / pi_old
    A_i = (R_i - mean(R)) / std(R) within the group

Changes from GRPO: the ratio is a weight without gradient and is capped, so that no token loses its gradient, however
far it has moved; every token weighs the same; no divergence from a reference. On policy its gradient is that of
REINFORCE with GRPO's advantages, averaged over tokens.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class CISPO:
    """REINFORCE with a capped importance weight on each token."""

    cap: float = 5.0
    """The largest weight, an absolute ratio (1 + epsilon_high, which the paper does not state; 5 is TRL's)."""
    ddof: int = 1
    """The variance of a group is divided by its size less this: 1 as in TRL and verl, 0 the population's."""
    eps: float = 1e-6
    """Added to the standard deviation (verl 1e-6, TRL 1e-4)."""

    def __post_init__(self):
        if not self.cap >= 1:
            raise ValueError(f"cap={self.cap} weakens tokens that have not moved: choose an absolute ratio above 1.")

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
            token_weights=weight.token_mean(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.capped(policy.logps, log_ratios, batch.advantages, cap=self.cap)
        r = ratio.exp(log_ratios)
        metrics = {"ratio": r, "clip_fraction": (r > self.cap).astype(r.dtype), "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
