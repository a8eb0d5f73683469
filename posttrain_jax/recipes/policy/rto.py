"""RTO: reinforced token optimization, DPO meets PPO (Zhong et al. 2024, arXiv:2404.18922, eq. 4.7).

    R_t = clip(beta_1 log pi_dpo(y_t)/pi_ref(y_t)) - beta_2 log pi_old(y_t)/pi_ref(y_t) + [t last] clip(r)
    L = -mean_t min(rho A, clip(rho, 1 - eps, 1 + eps) A),   A = whitened generalised advantages of R

pi_dpo was trained by DPO from the same reference: `fixed={"dpo": ...}` in the loop. A critic's values are subtracted
and fitted as in `PPO`, 0 without one. beta_1 absorbs the beta of the DPO: unclipped, the first terms add up to its
implicit reward; beta_1 = 0 is PPO with a divergence in the reward. Clips and whitening are the authors' code's
and bend the expected gradient, which is the reward's and the DPO's together without them.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, divergence, ratio, returns, surrogate, value, weight
from posttrain_jax.recipes import asked


@dataclasses.dataclass(frozen=True)
class RTO:
    """PPO on token rewards that a DPO model gives."""

    dpo_coef: float = 0.05
    """Weight of the DPO model's log-ratio (beta_1), per nat."""
    dpo_limit: float = 0.05
    """It is held within this, both ways."""
    kl_coef: float = 0.01
    """Weight of the divergence from the reference in the reward (beta_2), per nat."""
    reward_limit: float = 10.0
    """The reward of the completion is held within this, both ways; its weight (beta_3) is 1."""
    trace: returns.Trace = returns.Constant(0.95)
    """lambda of the generalised advantages; 1 with values of 0 sums rewards to the end."""
    clip_range: float = 0.2
    """Clip range of the ratio (epsilon) and of the critic's values, which are in units of the reward."""
    value_coef: float = 0.1
    """Weight of the critic's loss, as in `PPO`."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_range, high=self.clip_range)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Any, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """Advantages of single tokens; completions whose reward is NaN do not count."""
        groups, kept_ids = rollout.groups, rollout.kept_ids
        mask = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        dpo, ref_logps = asked.model(self, lookup, "dpo")(groups, kept_ids), lookup.ref(groups, kept_ids).logps
        good = jnp.clip(self.dpo_coef * (dpo.logps - ref_logps), -self.dpo_limit, self.dpo_limit)
        good += returns.at_last(jnp.clip(rewards, -self.reward_limit, self.reward_limit), mask)
        good -= self.kl_coef * divergence.k1_value(rollout.sampler.logps, ref_logps)
        tokens, values = jnp.where(mask, jax.lax.stop_gradient(good), 0), lookup.policy(groups, kept_ids).values
        values = jnp.zeros_like(tokens) if values is None else values
        raw = returns.gae(tokens, values, mask, trace=self.trace(jnp.sum(mask, axis=-1)))
        extra = {"token_reward": tokens, "old_values": values, "returns": values + raw}
        white, weights = advantage.whitened(raw, mask), weight.token_mean(mask)
        return types.PolicyBatch(groups.completion_mask, white, weights, extra=extra), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios, extra = ratio.token(policy.logps, batch.old_logps), batch.extra
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_range, high=self.clip_range)
        if policy.values is not None:
            errors = value.clipped(policy.values, extra["old_values"], extra["returns"], clip=self.clip_range)
            losses += self.value_coef * errors
        metrics = {"ratio": ratio.exp(log_ratios), "token_reward": extra["token_reward"]}
        return jnp.sum(batch.token_weights * losses), metrics
