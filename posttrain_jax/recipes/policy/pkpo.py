"""Pass-at-k policy optimization (Walder and Karkhanis 2025, arXiv:2505.15201).

    L = -(1/N) sum_i A_i sum_t log pi(y_it)
    A_i = mean over the subsets S of k of the group's n completions of 1[i in S] (max_S(R) - max_{S without i}(R))

Its expected gradient is exactly 1/n that of E[max of the rewards of k completions]: of pass@k, where rewards are 0 and
1. A group larger than k learns from all its subsets, where `PassAtK` (this with k = n) learns from one. Several updates
on one rollout are refused.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, subset, surrogate, weight


@dataclasses.dataclass(frozen=True)
class PKPO:
    """REINFORCE for the best of k completions, from groups of k or more."""

    k: int
    """Completions of which the best counts; groups with fewer rewards learn nothing."""

    def __post_init__(self):
        if not self.k >= 2:
            raise ValueError(f"k={self.k} compares a completion with nothing: choose 2 or more, or RLOO for one.")

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
        advantages = subset.best_of_k(rewards, groups.group_ids, k=self.k)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.sequence_sum(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.old_logps is not None:
            raise ValueError("PKPO learns only from what the policy has just sampled: take one update per rollout.")
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy}
