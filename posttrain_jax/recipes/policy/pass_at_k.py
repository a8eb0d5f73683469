"""Policy gradient of the best of k samples (Tang et al. 2025, arXiv:2503.19595).

    L = -(1/N) sum_i A_i sum_t log pi(y_it),   A_i = max(R) - max(R_j, j != i) within the group

Its expected gradient is exactly 1/k that of E[max of the rewards of k completions], k being the group's size: of
pass@k, where rewards are 0 and 1. Only a group's single best completion learns; where two are best, nobody does.
Several updates on one rollout are refused.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, surrogate, weight


@dataclasses.dataclass(frozen=True)
class PassAtK:
    """REINFORCE for the best completion of each group."""

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
        advantages = advantage.best_of_group(rewards, groups.group_ids)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.sequence_sum(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.old_logps is not None:
            raise ValueError("PassAtK learns only from what the policy has just sampled: take one update per rollout.")
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy}
