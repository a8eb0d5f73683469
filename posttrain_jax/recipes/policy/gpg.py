"""Group policy gradient (Chu et al. 2025, arXiv:2504.02546).

    L = -(1 / sum_i n_i) sum_i sum_t alpha A_i log pi(y_it),   A_i = R_i - mean(R) within the group
    alpha = groups / groups whose rewards differ

Groups of equal rewards teach nothing but stay in the denominator; alpha makes up for them (exactly so where groups have
equally many tokens). On policy by construction: no ratio, no clipping, no reference, and several updates on one
rollout are refused. With completions of one length the expected gradient of a single group is (1 - 1/G) / length that
of the expected reward; different lengths bend it.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, surrogate, weight


@dataclasses.dataclass(frozen=True)
class GPG:
    """REINFORCE with centred rewards, made up for the groups that teach nothing."""

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
        alpha = 1 / advantage.mixed_share(rewards, groups.group_ids)
        advantages = alpha * advantage.group_centered(rewards, groups.group_ids)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.token_mean(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.old_logps is not None:
            raise ValueError("GPG learns only from what the policy has just sampled: take one update per rollout.")
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy}
