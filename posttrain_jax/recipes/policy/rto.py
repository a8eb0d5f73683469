"""RTO: reinforced token optimization, DPO meets PPO (Zhong et al. 2024, arXiv:2404.18922, eq. 4.7).

    R_t = clip(beta_1 log pi_dpo(y_t)/pi_ref(y_t)) - beta_2 log pi_old(y_t)/pi_ref(y_t) + [t last] beta_3 clip(r)
    L = -mean_t min(rho A, clip(rho, 1 - eps, 1 + eps) A),   A = whitened generalised advantages of R

pi_dpo is a model trained before by DPO from the same reference; `credit` takes what it says of the sampled tokens, and
a critic's values where there is one (`losses/value.py` fits it), 0 otherwise. beta_1 absorbs the beta of the DPO, and
without clipping the first terms add up to its implicit reward. beta_1 = 0 is PPO with a divergence in the reward.
Nothing of R has a gradient. Clipping, scales and whitening are the authors' code's; unclipped log-ratios rule alone.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, divergence, ratio, returns, surrogate, weight


@dataclasses.dataclass(frozen=True)
class RTO:
    """PPO on token rewards that a DPO model gives."""

    dpo_coef: float = 0.05
    """Weight of the DPO model's log-ratio (beta_1), per nat."""
    dpo_limit: float = 0.05
    """Its reward of a token is held within this, both ways."""
    kl_coef: float = 0.01
    """Weight of the divergence from the reference in the reward (beta_2), per nat."""
    reward_coef: float = 1.0
    """Weight of the reward of the completion (beta_3)."""
    reward_limit: float = 10.0
    """The reward of the completion is held within this, both ways."""
    trace: float = 0.95
    """lambda of the generalised advantages; 1 with values of 0 sums rewards to the end."""
    clip_range: float = 0.2
    """Clip range of the ratio (epsilon)."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_range, high=self.clip_range)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        ref_logps: Float[Array, "P G T"] | None = None,
        *,
        dpo_logps: Float[Array, "P G T"] | None = None,
        values: Float[Array, "P G T"] | None = None,
    ) -> types.PolicyBatch:
        """Advantages of single tokens; completions whose reward is NaN do not count."""
        if ref_logps is None or dpo_logps is None:
            raise ValueError("RTO compares a DPO model and the policy with a reference: pass ref_logps and dpo_logps.")
        mask = rollout.groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        good = jnp.clip(self.dpo_coef * (dpo_logps - ref_logps), -self.dpo_limit, self.dpo_limit)
        whole = returns.at_last(jnp.clip(rewards, -self.reward_limit, self.reward_limit), mask)
        kl = divergence.k1_value(rollout.sampler.logps, ref_logps)
        tokens = jax.lax.stop_gradient(jnp.where(mask, good - self.kl_coef * kl + self.reward_coef * whole, 0))
        values = jnp.zeros_like(tokens) if values is None else values
        advantages = returns.gae(tokens, values, mask, trace=jnp.full(rewards.shape, self.trace))
        return types.PolicyBatch(
            completion_mask=rollout.groups.completion_mask,
            advantages=advantage.whitened(advantages, mask),
            token_weights=weight.token_mean(mask),
            ref_logps=ref_logps,
            extra={"token_reward": tokens},
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_range, high=self.clip_range)
        return jnp.sum(batch.token_weights * losses), {"ratio": ratio.exp(log_ratios), **batch.extra}
