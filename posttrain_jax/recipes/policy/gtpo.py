"""Group-relative trajectory-based policy optimization (Simoni et al. 2025, arXiv:2508.03772).

    L = -(1/N) sum_i 1[H_i <= limit] (A_i - entropy_coef H_i) (1/n_i) sum_t w_it pi(y_it) / sg(pi(y_it))
    A_i = (R_i - mean(R)) / std(R) within the group,   H_i = the completion's mean entropy when it was sampled

Good and bad completions of a group often begin and end alike. On those runs of tokens (`conflict.at_edges`) w = boost
where A > 0 and 0 where A < 0, so that what all share is not unlearned; elsewhere w = 1. No clipping and no reference.
Completions left out keep their place in 1/N. Without conflicts, and with entropy_coef 0 and limit infinite, the
gradient is that of GRPO on policy; otherwise it is that of no fixed reward.

Differs from the authors' code, which multiplies the weights of both runs (4 on tokens in both) and divides by the
number of conflicting tokens: this is the formula.
"""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, conflict, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class GTPO:
    """Standardised rewards on policy, sparing what good and bad completions share."""

    limit: float = math.log(2)
    """Mean entropy in nats above which a completion is left out; infinite where the first policy's is above ln 2."""
    entropy_coef: float = 0.1
    """Taken off the advantage for each nat of mean entropy (gamma)."""
    boost: float = 2.0
    """Weight of shared tokens in good completions (lambda)."""
    ddof: int = 1
    """The variance of a group is divided by its size less this."""
    eps: float = 1e-6
    """Added to the standard deviation."""

    def __post_init__(self):
        if not (self.limit > 0 and self.boost >= 0):
            raise ValueError(f"limit={self.limit} leaves every completion out, or boost={self.boost} is negative.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages less entropy, and the weights of shared tokens; rewards that are NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        scores = advantage.group_zscore(rewards, groups.group_ids, ddof=self.ddof, eps=self.eps)
        edges = conflict.at_edges(groups.completions, groups.completion_lengths, scores, groups.group_ids)
        at_edge = jnp.where(scores > 0, self.boost, jnp.where(scores < 0, 0, 1))[:, :, None]
        shares = jnp.where(edges, at_edge, 1)
        entropies = masked.mean(rollout.sampler.entropy, counted, axis=-1)
        kept = (entropies <= self.limit)[:, :, None]
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(scores - self.entropy_coef * entropies, counted),
            token_weights=weight.sequence_mean(counted) * jnp.where(kept, shares, 0),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.old_logps is not None:
            raise ValueError("GTPO learns only from what the policy has just sampled: take one update per rollout.")
        losses = surrogate.importance_weighted(ratio.token(policy.logps, None), batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy}
