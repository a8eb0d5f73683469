"""Distillation joined with reinforcement learning (Xu et al. 2025, arXiv:2506.02208).

    L = sum_i sum_t [ -min(r A, clip(r, 1 - eps, 1 + eps) A) + beta c_i (log pi - log teacher)^2 / 2 ] / n,
    A_i = (R_i - mean(R)) / std(R) within the group,   beta = max(start - slope step, floor)

n counts the tokens of the group, groups count alike, no reference. On policy the gradient is that of GRPO with
advantages A_i + beta c_i log(teacher / pi), added after normalisation: the reverse KL to the teacher, token by token.
c_i says which completions are distilled. By `k3_loss` it would be the forward KL, which the paper found weaker.

Differs from the paper: reconstructed from two implementations that agree; tokens that are not distilled stay in n; the
squares are times r, held still: further updates on a rollout keep the divergence's gradient.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from posttrain_jax import types
from posttrain_jax.losses import advantage, divergence, guidance, ratio, surrogate, weight
from posttrain_jax.recipes import asked


@dataclasses.dataclass(frozen=True)
class KDRL:
    """GRPO and the reverse KL to a teacher, on the same completions."""

    schedule: guidance.Falling = guidance.Falling(start=5e-3, slope=5e-5, floor=1e-3)
    """beta of each step."""
    distilled: guidance.Choice = guidance.everything
    """c: `guidance.everything`, `failures` (KDRL-Masking), `failed_groups`."""
    penalty: divergence.Penalty = divergence.k2_loss
    """From log pi and log teacher to the second term."""
    clip_low: float = 0.2
    """Lower clip range (epsilon)."""
    clip_high: float = 0.2
    """Upper clip range (epsilon)."""
    eps: float = 1e-6
    """Added to the standard deviation."""

    def __post_init__(self):
        divergence.check_penalty(self.penalty)
        surrogate.check_range(low=self.clip_low, high=self.clip_high)

    @property
    def needs_ref(self) -> bool:
        """Never: the teacher is a model of its own."""
        return False

    def init_memory(self) -> Int[Array, ""]:
        """Steps done."""
        return jnp.int32(0)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Any, lookup: types.Lookup, memory: PyTree
    ) -> tuple[types.PolicyBatch, PyTree]:
        """Advantages within groups, and what the teacher says; completions whose reward is NaN do not count."""
        groups, counted = rollout.groups, rollout.groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        advantages = advantage.group_zscore(rewards, groups.group_ids, eps=self.eps)
        coefficients = self.schedule(memory) * self.distilled(rewards, groups.group_ids)
        teacher = asked.model(self, lookup, "teacher")(groups, rollout.kept_ids).logps
        extra = {"teacher_logps": teacher, "coefficients": advantage.per_token(coefficients, counted)}
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.prompt_mean(counted, groups.group_ids),
            extra=extra,
        ), memory + 1

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        distances = self.penalty(policy.logps, batch.extra["teacher_logps"])
        losses += batch.extra["coefficients"] * jax.lax.stop_gradient(ratio.exp(log_ratios)) * distances
        metrics = {"ratio": ratio.exp(log_ratios), "teacher_penalty": distances, "entropy": policy.entropy}
        return (batch.token_weights * losses).sum(), metrics
