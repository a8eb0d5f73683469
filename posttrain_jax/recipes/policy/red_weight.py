"""Group-relative REINFORCE with weighted samples, RED-Weight (Yao et al. 2025, arXiv:2509.24203).

    L = -(1 / sum_i n_i) sum_i sum_t exp(A_i / temperature) A_i log pi(y_it),   A_i = R_i - mean(R) within the group

Changes from plain REINFORCE with centred rewards: good completions count more than bad ones, which makes completions of
an older policy safe to learn from. The weights bend the expected gradient towards the best completions.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, surrogate, weight


@dataclasses.dataclass(frozen=True)
class REDWeight:
    """REINFORCE with centred rewards, better completions weighing exponentially more."""

    temperature: float = 1.0
    """In the unit of the reward: the smaller, the more the best count; infinite weighs all alike."""

    def __post_init__(self):
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} favours the worst completions: choose it above 0.")

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
        centered = advantage.group_centered(rewards, groups.group_ids)
        advantages = jnp.exp(centered / self.temperature) * centered
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.token_mean(counted),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above; whose completions they are does not matter."""
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy}
