"""ReMax (Li et al. 2023, arXiv:2310.10505).

    L = -(1/N) sum_i sum_t A_it log pi(y_it),   A_it = R_i - kl_coef sum_{s >= t} log pi_sampler / pi_ref (y_is) - b
    b = reward of the greedy completion of the same prompt

Its expected gradient is exactly that of E[reward] - kl_coef KL(policy || ref), provided that the policy itself has just
sampled the completions: several updates on one rollout are refused. One sample of a prompt is enough, and the greedy
completion beside it, which is not learned from: generate it at temperature 0, score it, and give `credit` its reward.
For your own loop therefore.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import divergence, returns, surrogate, weight


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

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        ref_logps: Float[Array, "P G T"] | None = None,
        *,
        baselines: Float[Array, "P"],
    ) -> types.PolicyBatch:
        """Penalised returns less the baseline of the prompt; rewards or baselines that are NaN do not count."""
        groups = rollout.groups
        rewards -= baselines[:, None]
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
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
