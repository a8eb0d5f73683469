"""Value pre-training of VC-PPO (Yuan et al. 2025, arXiv:2503.01491).

    L = (1 / sum_i n_i) sum_i sum_t (V_it - R_i)^2 / 2

The expected gradient is that of the squared distance of V from the expected return, and noise that has none.
A critic that starts from a reward model thinks little of the beginnings of completions, and PPO then learns to be
short. So the critic is first fitted to the rewards of what the policy writes, the policy itself being held still: it
gets no gradient from this loss, and `optimizer.ByPart` keeps shared layers and weight decay from moving it. For
run_online with a model of `models.actor_critic`, before `PPO` or `VAPO`, which go on from the parameters it ends with.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import returns, value, weight


@dataclasses.dataclass(frozen=True)
class ValuePretraining:
    """Squared error of the critic against undiscounted returns (lambda 1)."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Returns of every token; completions whose reward is NaN do not count."""
        groups = rollout.groups
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        to_go = returns.to_go(returns.at_last(rewards, counted), counted)
        return types.PolicyBatch(groups.completion_mask, to_go, weight.token_mean(counted))

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        values = value.of(policy)
        errors = value.squared(values, batch.advantages)
        metrics = {"value": values, "value_error": errors, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * errors), metrics
