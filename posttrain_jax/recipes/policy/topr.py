"""Tapered off-policy REINFORCE (Le Roux et al. 2025, arXiv:2503.14286).

    L = -(1/N) sum_i sg(alpha_i) (R_i - baseline) sum_t log pi(y_it)
    alpha_i = 1 where R_i > baseline, min(pi(y_i) / pi_old(y_i), 1) elsewhere

Stable on completions of any age without clipping: good ones are imitated, bad ones are pushed down only as long as the
policy would still produce them. On policy this is REINFORCE, and so is its expected gradient. Rewards should have both
signs around the baseline.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class TOPR:
    """REINFORCE that lets go of bad completions as they become unlikely."""

    baseline: float = 0.0
    """Rewards above are imitated, rewards below are pushed down."""
    pool: ratio.Pool = ratio.sequence_sum
    """Whose ratio counts: the whole completion's as in the paper, or `ratio.per_token` as in Trinity-RFT."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Rewards less the baseline; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(rewards - self.baseline, counted),
            token_weights=weight.sequence_sum(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = self.pool(ratio.token(policy.logps, batch.old_logps), batch.completion_mask)
        losses = surrogate.tapered(policy.logps, log_ratios, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"ratio": ratio.exp(log_ratios), "entropy": policy.entropy}
