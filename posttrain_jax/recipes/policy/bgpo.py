"""Boundary-guided policy optimization for diffusion language models (Lin et al. 2025, arXiv:2510.11683).

    L = -(1/N) sum_i (1/n) sum_j g_ij,   g_ij = (1 + d_ij) A_i where A_i >= 0, exp(d_ij) A_i elsewhere
    d_ij = log pi - log pi_old, both the bound of log p(y_i) on Monte Carlo sample j
    A_i = (R_i - mean(R)) / std(R) within the group

Samples stand where tokens do elsewhere: `logps` [P, G, T] are the T bounds of `diffusion.elbo`, the mask says which
were drawn, and policy and old policy share their noise. The mean of g is never above exp(mean_j d_ij) A_i, and equal to
it in value and gradient on policy, where that is GRPO's on the bounds (which are not log p); and it adds over samples,
so they may be computed one after the other. No clipping.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class BGPO:
    """A lower bound of the importance-weighted advantage, from samples of a bound of the likelihood."""

    ddof: int = 1
    """The variance of a group is divided by its size less this: 1 as in TRL and verl, 0 the population's."""
    eps: float = 1e-6
    """Added to the standard deviation."""

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
        advantages = advantage.group_zscore(rewards, groups.group_ids, ddof=self.ddof, eps=self.eps)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.sequence_mean(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.boundary(log_ratios, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"ratio": ratio.exp(log_ratios), "entropy": policy.entropy}
