"""Group-relative REINFORCE with clipping, REC (Yao et al. 2025, arXiv:2509.24203).

    L = -(1 / sum_i n_i) sum_i sum_t 1[token in region] sg(r^power) A log pi(y_it),   r = pi / pi_old
    A_i = R_i - mean(R) within the group

With power 0 clipping alone keeps the policy near (REC-*-NoIS, the paper's point: the ratio itself does little); with
power 1 and a one-sided region the gradient is exactly that of the clipped surrogate (REC-OneSide-IS); with
`trust.Everywhere` nothing holds it. On policy the gradient is that of centred rewards averaged over tokens.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, trust, weight


@dataclasses.dataclass(frozen=True)
class REC:
    """REINFORCE with centred rewards on the tokens inside a trust region."""

    region: trust.Region = trust.OneSided()
    """Which tokens push: `trust.OneSided`, `TwoSided`, `Ring` or `Everywhere`."""
    power: float = 0.0
    """Of the ratio in each token's weight: 0 none (NoIS), 1 the importance weight (IS)."""

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
        inside = self.region(log_ratios, batch.advantages)
        multipliers = jnp.where(inside, ratio.exp(self.power * log_ratios), 0)
        losses = surrogate.weighted(policy.logps, batch.advantages, multipliers)
        cut = (~inside).astype(losses.dtype)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
