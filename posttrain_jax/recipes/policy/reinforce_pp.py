"""REINFORCE++ (Hu 2025, arXiv:2501.03262).

    L = (1 / sum_i n_i) sum_i sum_t -min(r A, clip(r, 1 - eps, 1 + eps) A)
    A_it = whitened over the tokens of the batch: R_i - kl_coef sum_{s >= t} log pi_sampler(y_is) / pi_ref(y_is)

One sample of each prompt is enough: rewards are compared over the batch, not within groups, so a prompt that is harder
than others is pushed down as a whole. Dividing by the batch's spread bends the expected gradient away from that of the
reward less the divergence.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, divergence, ratio, returns, surrogate, weight


@dataclasses.dataclass(frozen=True)
class REINFORCEPlusPlus:
    """Clipped policy gradient, penalised returns standardised over all tokens of the batch."""

    clip_low: float = 0.2
    """Lower clip range (epsilon)."""
    clip_high: float = 0.2
    """Upper clip range (epsilon)."""
    kl_coef: float = 0.01
    """Weight of the divergence from the reference in each token's reward (beta; 0.01 is ours); 0 needs no reference."""
    discount: float = 1.0
    """Of later rewards, by token (gamma)."""

    def __post_init__(self):
        surrogate.check_range(low=self.clip_low, high=self.clip_high)
        if not self.kl_coef >= 0:
            raise ValueError(f"kl_coef={self.kl_coef} rewards leaving the reference: choose 0 or more.")

    @property
    def needs_ref(self) -> bool:
        """Unless `kl_coef` is 0."""
        return self.kl_coef > 0

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Penalised returns over the batch; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        token_rewards, extra = returns.at_last(rewards, counted), {}
        if self.needs_ref:
            if ref_logps is None:
                raise ValueError(f"kl_coef={self.kl_coef} needs a reference: give ref_logps, or set it to 0.")
            extra["kl"] = divergence.k1_value(rollout.sampler.logps, ref_logps)
            token_rewards -= self.kl_coef * extra["kl"]
        to_go = returns.to_go(token_rewards, counted, discount=self.discount)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.whitened(to_go, counted),
            token_weights=weight.token_mean(counted),
            extra=extra,
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy, **batch.extra}
        return jnp.sum(batch.token_weights * losses), metrics
