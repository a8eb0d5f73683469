"""Variational sequence-level soft policy optimization (VESPO 2026, arXiv:2602.10693).

    L = (1 / sum_i n_i) sum_i sum_t -sg(phi_i) A_i log pi(y_it),   phi = W^power exp(rate (1 - W))
    W_i = pi(y_i) / pi_old(y_i),   A_i = (R_i - mean(R)) / std(R) within the group

The ratio is that of the whole completion, neither clipped nor taken per token: completions that have become much
likelier or much less likely fade smoothly. On policy its gradient is that of REINFORCE with GRPO's advantages, averaged
over tokens. The defaults and the average over tokens are TRL's.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, ratio, surrogate, weight


@dataclasses.dataclass(frozen=True)
class VESPO:
    """REINFORCE under a smooth weight of the whole completion's ratio."""

    good_power: float = 2.0
    """Where A >= 0: how fast the weight vanishes towards ratio 0 (k)."""
    good_rate: float = 3.0
    """Where A >= 0: how fast it vanishes towards large ratios (lambda)."""
    bad_power: float = 3.0
    """The power where A < 0."""
    bad_rate: float = 2.0
    """The rate where A < 0."""
    ddof: int = 1
    """The variance of a group is divided by its size less this: 1 as in TRL and verl, 0 the population's."""
    eps: float = 1e-6
    """Added to the standard deviation (verl 1e-6, TRL 1e-4)."""

    def __post_init__(self):
        if not min(self.good_power, self.good_rate, self.bad_power, self.bad_rate) > 0:
            raise ValueError(f"{self} lets completions far off weigh without bound: choose powers and rates above 0.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages within groups; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        advantages = advantage.group_zscore(rewards, groups.group_ids, ddof=self.ddof, eps=self.eps)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.token_mean(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        log_ratios = ratio.sequence_sum(log_ratios, batch.completion_mask)
        good = batch.advantages >= 0
        power = jnp.where(good, self.good_power, self.bad_power)
        rate = jnp.where(good, self.good_rate, self.bad_rate)
        multipliers = surrogate.gamma_shaped(log_ratios, power=power, rate=rate)
        losses = surrogate.weighted(policy.logps, batch.advantages, multipliers)
        metrics = {"ratio": ratio.exp(log_ratios), "multiplier": multipliers, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
