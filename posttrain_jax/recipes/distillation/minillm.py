"""MiniLLM: the reverse KL of whole completions, by policy gradient (Gu et al. 2023, arXiv:2306.08543).

    L = mean_t [ KL(pi(. | s_t) || teacher(. | s_t)) - min(w r A, clip(w r, 1 - eps, 1 + eps) A) ]
    A_t = mean of d_s over s > t, whitened,   d = clip(log(teacher / pi) / scale),   r = pi / pi_old

A token's own divergence is exact, what it leads to a reward: with sums for means, unwhitened, unclipped, both have the
gradient of KL(pi || teacher) of completions. The teacher draws a of all tokens, for which w = pi_old / ((1 - a) pi_old
+ a teacher) makes up, in the second term as in their code, whose A has the own reward. Pre-training is left out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from posttrain_jax import arrangement, comparison, types
from posttrain_jax.losses import advantage, generator, ratio, returns, surrogate, weight
from posttrain_jax.recipes import asked


@dataclasses.dataclass(frozen=True)
class MiniLLM:
    """Exact reverse KL of the next token, and a clipped policy gradient for that of the tokens behind it."""

    clip_low: float = 0.2
    """Lower clip range of the weighted ratio (epsilon)."""
    clip_high: float = 0.2
    """Upper clip range of the weighted ratio (epsilon)."""
    scale: float = 0.5
    """What the log-ratios of teacher to student are divided by."""
    limit: float = 100.0
    """The largest reward of a token, of either sign."""
    following: returns.Following = returns.following_mean
    """From rewards to A before whitening; `returns.remaining_mean` is the code's."""
    teacher_share: float = 0.0
    """Of the tokens, that the teacher draws (a), on the policy's mesh; 0.2 in the paper."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_low, high=self.clip_high)
        if not (self.scale > 0 and self.limit > 0 and 0 <= self.teacher_share < 1):
            raise ValueError(f"{self}: scale and limit must be above 0, and teacher_share in [0, 1).")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    @property
    def arrangement(self) -> arrangement.Arrangement:
        """Tokens of both."""
        return arrangement.Arrangement(guest=("teacher", self.teacher_share) if self.teacher_share else None)

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def comparisons(self, batch: types.PolicyBatch) -> Mapping[str, comparison.Comparison]:
        """KL(pi || teacher)."""
        return {"teacher": comparison.Comparison(generator.ReverseKL(), {"teacher": 1.0})}

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Any, lookup: types.Lookup, memory: PyTree
    ) -> tuple[types.PolicyBatch, PyTree]:
        """The teacher's rewards; of those given only which are NaN is looked at: such completions do not count."""
        groups, counted = rollout.groups, rollout.groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        own = lookup.policy(groups).logps if self.teacher_share else rollout.sampler.logps
        gaps = asked.model(self, lookup, "teacher")(groups, rollout.kept_ids).logps - own
        behind = self.following(jnp.clip(gaps / self.scale, -self.limit, self.limit), counted)
        extra = {"log_weights": jnp.where(counted, -generator.log_mixture(gaps, self.teacher_share), 0)}
        advantages = advantage.whitened(behind, counted)
        return types.PolicyBatch(groups.completion_mask, advantages, weight.token_mean(counted), extra=extra), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps) + batch.extra["log_weights"]
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"clip_fraction": cut, "entropy": policy.entropy, "teacher_divergence": policy.divergences["teacher"]}
        return (batch.token_weights * (policy.divergences["teacher"] + losses)).sum(), metrics
