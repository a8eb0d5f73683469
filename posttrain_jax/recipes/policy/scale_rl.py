"""ScaleRL, the loss (Khatri et al. 2025, arXiv:2510.13786).

    L = (1/Q) sum_q (1/n_q) sum_{i in q} sum_t -sg(min(r, cap)) A log pi(y_it)
    A_i = (R_i - mean(R) within the group) / std of the centred rewards over the batch
    over the Q groups q whose rewards differ, of n_q tokens each

CISPO's weights, each prompt weighing the same, groups of equal rewards left out of every denominator. With several
groups the spread is common to all, so the direction of the gradient on policy is that of centred rewards.

Differs from the paper: the spread is taken over all scored completions, groups of equal rewards included. What the
paper does beside the loss (asynchronous rollouts, dropping prompts solved before, interrupted reasoning) is not here.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class ScaleRL:
    """Capped importance weights, rewards scaled over the batch, every prompt weighing the same."""

    cap: float = 5.0
    """The largest weight, an absolute ratio (4 to 8 in the paper)."""
    eps: float = 1e-4
    """Added to the standard deviation."""

    def __post_init__(self):
        if not self.cap >= 1:
            raise ValueError(f"cap={self.cap} weakens tokens that have not moved: choose an absolute ratio above 1.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages over the batch; completions with reward NaN and groups of equal rewards do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        counted &= advantage.mixed(rewards, groups.group_ids)[:, None, None]
        advantages = advantage.over_centered_std(rewards, groups.group_ids, eps=self.eps)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.prompt_mean(counted, groups.group_ids),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.capped(policy.logps, log_ratios, batch.advantages, cap=self.cap)
        r = ratio.exp(log_ratios)
        metrics = {"ratio": r, "clip_fraction": (r > self.cap).astype(r.dtype), "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
