"""KL-Cov (Cui et al. 2025, the entropy mechanism, arXiv:2505.22617).

    L = (1 / sum_i n_i) sum_i sum_t [ -r A + held_it kl_coef |log pi / pi_old| ]
    held_it = 1 on the tokens of the largest (A - mean(A)) (log pi - mean(log pi)), else 0

Means are over the batch's tokens, A standardises rewards within the group. A step of policy gradient lowers the entropy
in proportion to that covariance, most of which a few tokens carry: those are held near the policy that sampled. There
is no clipping. On policy the penalty has no gradient, and this is GRPO by tokens: it works from the second update on a
rollout on.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import covariance, divergence, ratio, selection, surrogate, weight
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class KLCov:
    """Importance-weighted policy gradient that holds the tokens which cost most entropy."""

    share: float = 2e-4
    """Of the counted tokens, those to hold, one at least (the authors take 2e-3 for 7 B parameters)."""
    kl_coef: float = 1.0
    """Weight of the penalty (beta)."""
    penalty: divergence.Penalty = divergence.absolute_loss
    """Of the log-probabilities of policy and old policy; `divergence.k2_loss` grows with their distance."""
    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.0)
    """Gives advantages."""
    credits_anew: ClassVar[bool] = True
    """Each update looks at the policy as it is then."""

    def __post_init__(self):
        divergence.check_penalty(self.penalty)
        if not (0 <= self.share <= 1 and self.kl_coef >= 0):
            raise ValueError(f"share={self.share} must lie in [0, 1] and kl_coef={self.kl_coef} be 0 or more.")
        if self.recipe.needs_ref:
            raise ValueError(f"KLCov takes advantages alone from {self.recipe}: give it one with kl_coef=0.")

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
        """Advantages within groups and the tokens to hold; completions whose reward is NaN do not count."""
        batch, logps = self.recipe.credit(rollout, rewards), lookup.policy(rollout.groups, rollout.kept_ids).logps
        counted = batch.token_weights > 0
        covariances = covariance.of_tokens(logps, batch.advantages, counted)
        held = selection.highest(covariances, counted, selection.share_of(counted, self.share))
        weights = weight.token_mean(counted)
        return dataclasses.replace(batch, token_weights=weights, extra={"held": held.astype(weights.dtype)}), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        old_logps = policy.logps if batch.old_logps is None else batch.old_logps
        penalties = batch.extra["held"] * self.penalty(policy.logps, old_logps)
        losses = surrogate.importance_weighted(log_ratios, batch.advantages) + self.kl_coef * penalties
        metrics = {"ratio": ratio.exp(log_ratios), "entropy": policy.entropy, **batch.extra}
        return jnp.sum(batch.token_weights * losses), metrics
