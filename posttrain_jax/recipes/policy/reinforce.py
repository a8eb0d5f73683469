"""REINFORCE (Williams 1992).

    L = -(1/N) sum_i (R_i - baseline) sum_t log pi(y_it)

Its expected gradient is exactly that of the expected reward, whatever the baseline, provided that the policy itself has
just sampled the completions: several updates on one rollout are refused.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, surrogate, weight


@dataclasses.dataclass(frozen=True)
class REINFORCE:
    """Log-likelihood of whole completions, weighted by their reward."""

    baseline: float = 0.0
    """Taken off every reward: changes the variance alone."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Rewards less the baseline; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(rewards - self.baseline, counted),
            token_weights=weight.sequence_sum(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.old_logps is not None:
            raise ValueError(
                "REINFORCE learns only from what the policy has just sampled: take one update per rollout."
            )
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy}
