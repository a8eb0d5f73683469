"""ReMax (Li et al. 2023, arXiv:2310.10505).

    L = -(1/N) sum_i sum_t A_it log pi(y_it),   A_it = R_i - kl_coef sum_{s >= t} log pi_sampler / pi_ref (y_is) - b
    b = reward of the greedy completion of the same prompt

Its expected gradient is exactly that of E[reward] - kl_coef KL(policy || ref), provided that the policy itself has just
sampled the completions: several updates on one rollout are refused. In `run_online` the last completion of a group is
the greedy one, scored like the others and not learned from: a group_size of 2 is one sample and its baseline.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import arrangement, types
from posttrain_jax.losses import divergence, group, returns, surrogate, weight


@dataclasses.dataclass(frozen=True)
class ReMax:
    """REINFORCE around the reward of the greedy completion."""

    kl_coef: float = 0.05
    """Weight of the divergence from the reference in each token's reward (beta; 0.05 is ours); 0 needs no reference."""

    def __post_init__(self):
        if not self.kl_coef >= 0:
            raise ValueError(f"kl_coef={self.kl_coef} rewards leaving the reference: choose 0 or more.")

    @property
    def needs_ref(self) -> bool:
        """Unless `kl_coef` is 0."""
        return self.kl_coef > 0

    @property
    def arrangement(self) -> arrangement.Arrangement:
        """One greedy completion beside the samples."""
        return arrangement.Arrangement(greedy=1)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Penalised returns of the samples; failed ones do not count, nor groups whose greedy completion failed."""
        groups, greedy = rollout.groups, rollout.greedy
        if greedy is None:
            raise ValueError("ReMax compares with greedy completions, and the rollout names none: give `greedy`.")
        known = greedy & ~jnp.isnan(rewards)
        sums = (group.total(x.astype(jnp.float32), groups.group_ids) for x in (jnp.where(known, rewards, 0), known))
        total, count = sums
        rewards = rewards - (total / count)[:, None]
        counted = groups.completion_mask & ~(greedy | jnp.isnan(rewards))[:, :, None]
        token_rewards, extra = returns.at_last(rewards, counted), {}
        if self.needs_ref:
            if ref_logps is None:
                raise ValueError(f"kl_coef={self.kl_coef} needs a reference: give ref_logps, or set it to 0.")
            extra["kl"] = divergence.k1_value(rollout.sampler.logps, ref_logps)
            token_rewards -= self.kl_coef * extra["kl"]
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=returns.to_go(token_rewards, counted),
            token_weights=weight.sequence_sum(counted),
            extra=extra,
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.old_logps is not None:
            raise ValueError("ReMax learns only from what the policy has just sampled: take one update per rollout.")
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy, **batch.extra}
