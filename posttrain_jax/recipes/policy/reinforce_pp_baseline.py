"""REINFORCE++ with a baseline (Hu 2025, arXiv:2501.03262).

    L = (1 / sum_i n_i) sum_i sum_t [ -min(r A, clip(r, 1 - eps, 1 + eps) A) + kl_coef d^2 / 2 ],   d = log pi_ref / pi
    A_it = whitened over the tokens of the batch: R_i - mean(R) within the group

Its penalty's expected gradient is that of KL(policy || ref) token by token, which GRPO's is not. Dividing by the spread
of the batch rather than of the group weighs prompts alike only where their rewards spread alike.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, divergence, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class REINFORCEPlusPlusBaseline:
    """Clipped policy gradient, rewards centred within the group and standardised over all tokens of the batch."""

    clip_low: float = 0.2
    """Lower clip range (epsilon)."""
    clip_high: float = 0.2
    """Upper clip range (epsilon)."""
    kl_coef: float = 1e-3
    """Weight of the k2 divergence from the reference (1e-3 in OpenRLHF's script); 0 needs no reference."""

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
        """Advantages within groups; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        centered = advantage.per_token(advantage.group_centered(rewards, groups.group_ids), counted)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.whitened(centered, counted),
            token_weights=weight.token_mean(counted),
            ref_logps=ref_logps,
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=self.clip_low, high=self.clip_high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        if self.needs_ref:
            if batch.ref_logps is None:
                raise ValueError(f"kl_coef={self.kl_coef} needs a reference: give ref_logps, or set it to 0.")
            metrics["kl"] = divergence.k2_loss(policy.logps, batch.ref_logps)
            losses += self.kl_coef * metrics["kl"]
        return jnp.sum(batch.token_weights * losses), metrics
