"""On-policy RL with optimal reward baseline (Hao et al. 2025, arXiv:2505.23585).

    L = -(1/N) sum_i A_i sum_t log pi(y_it),   A_i = R_i - sum(n R) / sum(n) within the group, n in tokens

The baseline that minimises the variance where a completion's squared gradient grows like its length. As it contains the
completion's own reward, the expected gradient is (1 - 1/G) that of the expected reward for completions of one length,
and bent a little otherwise. Exactly on policy: several updates on one rollout are refused.

Differs from the authors' code: sums over tokens are averaged over completions, as in the paper's derivation; the code
divides by all tokens of the batch.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, surrogate, weight


@dataclasses.dataclass(frozen=True)
class OPO:
    """REINFORCE with the baseline of least variance."""

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
        lengths = jnp.sum(counted, axis=-1)
        advantages = advantage.length_weighted(rewards, lengths, groups.group_ids)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.sequence_sum(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.old_logps is not None:
            raise ValueError("OPO learns only from what the policy has just sampled: take one update per rollout.")
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy}
