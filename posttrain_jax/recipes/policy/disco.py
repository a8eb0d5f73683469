"""Discriminative constrained optimization (Li et al. 2025, arXiv:2505.12366).

    L = -(1/Q) sum_q [ mean_good(s_i) - tau log mean_bad exp(s_j / tau) ] + (drift_coef / 2) max(c - limit, 0)^2
    s_i = (1/n_i) sum_t log pi(y_it), or the mean of pi / pi_old;   c = mean over the batch's tokens of log pi_old / pi

Over the Q groups q with a reward; groups with only good or only bad completions add 0. The gradient is exactly that of
L, as credit is given before every update; the value is that of the linear form sum_i sg(dL/ds_i) s_i + sg(dL/dc) c,
which adds over rows. On-policy GRPO multiplies a prompt's gradient by sqrt(p (1 - p)), p its success rate; not so here.
With tau infinite plain means are compared (DisCO-b). The penalty's 1/2 is not the paper's, but the authors' code's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, constraint, group, ratio, score, weight


@dataclasses.dataclass(frozen=True)
class DisCO:
    """Scores of good completions up, scores of bad ones down, the higher a bad one the harder."""

    scoring: score.Score = score.log_likelihood
    """What is compared: `score.log_likelihood` (log-L) or `score.likelihood_ratio` (L-ratio)."""
    tau: float = 10.0
    """Temperature among the bad completions, in the unit of the score (10 for log-L, 1 for L-ratio)."""
    drift: constraint.Drift = constraint.drift_k1
    """By token, the divergence from the policy that sampled."""
    limit: float = 1e-4
    """Its largest mean without a penalty, in nats (delta)."""
    drift_coef: float = 1e3
    """Weight of the penalty; 0 has none."""
    above: float = 0.5
    """Completions with a reward above this are good."""
    credits_anew: ClassVar[bool] = True
    """Each update looks at the policy as it is then."""

    def __post_init__(self):
        if not (self.tau > 0 and self.drift_coef >= 0):
            raise ValueError(f"tau={self.tau} must be above 0, drift_coef={self.drift_coef} 0 or more.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """Weights of the scores, and of the drift, under the policy; completions whose reward is NaN do not count."""
        groups, scored = rollout.groups, ~jnp.isnan(rewards)
        counted = groups.completion_mask & scored[:, :, None]
        policy, old = lookup.policy(groups, rollout.kept_ids).logps, rollout.sampler.logps
        scores = masked.mean(self.scoring(policy, policy - old), counted, axis=-1)
        advantages = advantage.contrast(scores, rewards, groups.group_ids, tau=self.tau, above=self.above)
        prompts = jnp.maximum(group.count(jnp.any(scored, axis=1), groups.group_ids), 1)
        drift = masked.mean(self.drift(policy - old), counted)
        push = constraint.pressure(drift, limit=self.limit, coef=self.drift_coef) * weight.token_mean(counted)
        batch = types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.sequence_total(counted) / prompts,
            extra={"push": push},
        )
        return batch, memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The linear form of the equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        drift, scores = self.drift(log_ratios), self.scoring(policy.logps, log_ratios)
        losses = batch.extra["push"] * drift - batch.token_weights * batch.advantages * scores
        return jnp.sum(losses), {"drift": drift, "entropy": policy.entropy}
