"""Asymmetric REINFORCE (Arnal et al. 2025, arXiv:2506.20520).

    L = -(1 / sum_i n_i) sum_i sum_t A_i log pi(y_it),   A_i = R_i - (mean(R) within the group + shift)

No ratio and no clipping: on completions of an older policy, a baseline below the mean (shift < 0) learns more from good
completions than from bad ones, which keeps training from collapsing. It adds -|shift| log pi(y) to the loss, imitation
of the policy that sampled. On policy the shift changes no expected gradient, for completions of one length.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, surrogate, weight


@dataclasses.dataclass(frozen=True)
class AsymRE:
    """REINFORCE on completions of any age, with a baseline below the mean."""

    shift: float = -0.1
    """Added to the baseline (delta V); below 0, in the unit of the reward."""

    def __post_init__(self):
        if not self.shift <= 0:
            raise ValueError(f"shift={self.shift} unlearns what was sampled, good or bad: choose 0 or less.")

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
        advantages = advantage.group_centered(rewards, groups.group_ids) - self.shift
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.token_mean(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above; whose completions they are does not matter."""
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy}
