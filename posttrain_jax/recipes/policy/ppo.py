"""Proximal policy optimization with a critic (Schulman et al. 2017, arXiv:1707.06347).

    L = (1 / sum_i n_i) sum_i sum_t [ -min(r A, clip(r, 1 - eps, 1 + eps) A) + value_coef v - entropy_coef H ]
    v = max((V - R)^2, (clip(V, V_old - value_clip, V_old + value_clip) - R)^2) / 2
    A from `returns.gae` with the trace, then whitened over the tokens;   R = V_old + the advantages with the critic's

Rewards of tokens are -kl_coef log pi_sampler / pi_ref, and the completion's at the last. Critic trace 1 is VC-PPO
(Yuan et al. 2025, arXiv:2503.01491). Whitening, and traces below 1 of a critic that errs, bend the expected gradient.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, divergence, ratio, returns, surrogate, value, weight


@dataclasses.dataclass(frozen=True)
class PPO:
    """Clipped policy gradient around a learned baseline, and the baseline's own loss."""

    clip_low: float = 0.2
    """Lower clip range (epsilon)."""
    clip_high: float = 0.2
    """Upper clip range (epsilon)."""
    kl_coef: float = 0.05
    """Weight of the divergence from the reference in each token's reward (beta; TRL's); 0 needs no reference."""
    trace: returns.Trace = returns.Constant(0.95)
    """Of the advantages (lambda)."""
    critic_trace: returns.Trace = returns.Constant(0.95)
    """Of the returns that values are fitted to."""
    value_clip: float = 0.2
    """How far a value moves in an update, in units of the reward."""
    value_coef: float = 0.1
    """Weight of the critic's loss (TRL's)."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_low, high=self.clip_high)
        if not (self.kl_coef >= 0 and self.value_clip > 0):
            raise ValueError(f"kl_coef={self.kl_coef} must be 0 or more, value_clip={self.value_clip} above 0.")

    @property
    def needs_ref(self) -> bool:
        """Unless `kl_coef` is 0."""
        return self.kl_coef > 0

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """Advantages over the critic; completions whose reward is NaN do not count."""
        groups, counted = rollout.groups, rollout.groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        token_rewards, values = returns.at_last(rewards, counted), value.of(lookup.policy(groups, rollout.kept_ids))
        if self.needs_ref:
            ref_logps = lookup.ref(groups, rollout.kept_ids).logps
            token_rewards -= self.kl_coef * divergence.k1_value(rollout.sampler.logps, ref_logps)
        traces = (trace(jnp.sum(counted, axis=-1)) for trace in (self.trace, self.critic_trace))
        actor, critic = (returns.gae(token_rewards, values, counted, trace=trace) for trace in traces)
        mask, extra = groups.completion_mask, {"old_values": values, "returns": values + critic}
        white, weights = advantage.whitened(actor, counted), weight.token_mean(counted)
        return types.PolicyBatch(mask, white, weights, extra=extra), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios, values = ratio.token(policy.logps, batch.old_logps), value.of(policy)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        errors = value.clipped(values, batch.extra["old_values"], batch.extra["returns"], clip=self.value_clip)
        losses += self.value_coef * errors - self.entropy_coef * policy.entropy
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "value": values, "value_error": errors}
        return jnp.sum(batch.token_weights * losses), metrics | {"entropy": policy.entropy}
