"""Group relative policy optimization (Shao et al. 2024, arXiv:2402.03300, eq. 3 and 4).

    L = (1/N) sum_i (1/n_i) sum_t [ -min(r A, clip(r, 1 - eps, 1 + eps) A) + kl_coef (e^d - d - 1) ]
    r = pi / pi_old,   d = log pi_ref / pi,   A_i = (R_i - mean(R)) / std(R) within the group

The expected gradient is not that of E[reward] - kl_coef KL(policy || ref). Divided by the spread of a pair of equal
lengths it is that of the win rate E[sign(R - R')], which is the reward's for rewards of two kinds; 1/n_i bends it where
lengths differ, clipping where the policy has moved. `k3_loss` has the gradient of KL(ref || policy), token by token.

Differs from the paper: `std` is the sample standard deviation, as in TRL and verl (the paper does not say).
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, divergence, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class GRPO:
    """Clipped policy gradient, rewards standardised within the group, every completion weighing the same."""

    clip_low: float = 0.2
    """Lower clip range (epsilon)."""
    clip_high: float = 0.2
    """Upper clip range (epsilon)."""
    kl_coef: float = 0.04
    """Weight of the divergence from the reference (beta); 0 needs no reference."""
    penalty: divergence.Penalty = divergence.k3_loss
    """Its estimate; `divergence.k2_loss` has the gradient of KL(policy || ref), `sampled_loss` its value too."""
    ddof: int = 1
    """The variance of a group is divided by its size less this: 1 as in TRL and verl, 0 the population's."""
    eps: float = 1e-6
    """Added to the standard deviation (verl 1e-6, TRL 1e-4)."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_low, high=self.clip_high)
        divergence.check_penalty(self.penalty)
        if not self.kl_coef >= 0:
            raise ValueError(f"kl_coef={self.kl_coef} rewards leaving the reference: choose 0 or more.")

    @property
    def needs_ref(self) -> bool:
        """Unless `kl_coef` is 0."""
        return self.kl_coef > 0

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages within groups; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        advantages = advantage.group_zscore(rewards, groups.group_ids, ddof=self.ddof, eps=self.eps)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.sequence_mean(counted),
            ref_logps=ref_logps,
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        if self.needs_ref:
            if batch.ref_logps is None:
                raise ValueError(f"GRPO with kl_coef={self.kl_coef} needs a reference: give ref_logps, or set it to 0.")
            metrics["kl"] = self.penalty(policy.logps, batch.ref_logps)
            losses += self.kl_coef * metrics["kl"]
        return jnp.sum(batch.token_weights * losses), metrics
