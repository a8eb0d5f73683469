"""REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv:2402.14740).

    L = -(1/N) sum_i A_i sum_t log pi(y_it),   A_i = R_i - mean(R_j, j != i) within the group
    R_i = reward_i - kl_coef sum_t log pi_sampler(y_it) / pi_ref(y_it)

Its expected gradient is exactly that of E[reward] - kl_coef KL(policy || ref), provided that the policy itself has just
sampled the completions: several updates on one rollout are refused.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, divergence, surrogate, weight


@dataclasses.dataclass(frozen=True)
class RLOO:
    """REINFORCE on whole completions, each compared with the others of its group."""

    kl_coef: float = 0.05
    """Weight of the divergence from the reference in the reward (beta); 0 needs no reference. The default is from a
    guide to TRL, not from the paper."""

    def __post_init__(self):
        if not self.kl_coef >= 0:
            raise ValueError(f"kl_coef={self.kl_coef} rewards leaving the reference: choose 0 or more.")

    @property
    def needs_ref(self) -> bool:
        """Unless `kl_coef` is 0."""
        return self.kl_coef > 0

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Penalised rewards, compared within groups; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        extra = {}
        if self.needs_ref:
            if ref_logps is None:
                raise ValueError(f"RLOO with kl_coef={self.kl_coef} needs a reference: give ref_logps, or set it to 0.")
            extra["kl"] = divergence.k1_value(rollout.sampler.logps, ref_logps)
            rewards -= self.kl_coef * masked.total(extra["kl"], groups.completion_mask, axis=-1)
        advantages = advantage.leave_one_out(rewards, groups.group_ids)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.sequence_sum(counted),
            extra=extra,
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.old_logps is not None:
            raise ValueError("RLOO learns only from what the policy has just sampled: take one update per rollout.")
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy, **batch.extra}
