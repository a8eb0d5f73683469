"""Discriminative constrained optimization (Li et al. 2025, arXiv:2505.12366), on policy.

    L = -(1/Q) sum_q [ mean_good(s_i) - tau log mean_bad exp(s_j / tau) ],   s_i = (1/n_i) sum_t log pi(y_it)
    over the Q groups q with a reward; groups with only good or only bad completions add 0

The gradient is exactly that of L; the value is that of its linear form, sum_i sg(dL/ds_i) s_i, whose weights are found
over the whole batch. Where on-policy GRPO multiplies the gradient of a prompt with success rate p by sqrt(p (1 - p)),
this has no such factor. tau infinite compares plain means (DisCO-b), and so does the paper's other score, the mean
ratio, on policy.

Differs from the paper: one update per rollout. There the constraint KL(old || policy) <= delta is met and pushes
nothing; over several updates its penalty is a function of the whole batch, and does not add up over rows.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, group, surrogate


@dataclasses.dataclass(frozen=True)
class DisCO:
    """Scores of good completions up, scores of bad ones down, the likelier a bad one the harder."""

    tau: float = 10.0
    """Temperature among the bad completions, in nats per token; infinite weighs them alike."""
    above: float = 0.5
    """Completions with a reward above this are good."""

    def __post_init__(self):
        if not self.tau > 0:
            raise ValueError(f"tau={self.tau} spares the likeliest bad completions: choose it above 0.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Weights of the scores under the sampler; completions whose reward is NaN do not count."""
        groups = rollout.groups
        scored = ~jnp.isnan(rewards)
        counted = groups.completion_mask & scored[:, :, None]
        scores = masked.mean(rollout.sampler.logps, counted, axis=-1)
        advantages = advantage.contrast(scores, rewards, groups.group_ids, tau=self.tau, above=self.above)
        lengths = jnp.maximum(jnp.sum(counted, axis=-1, keepdims=True), 1).astype(rewards.dtype)
        prompts = jnp.maximum(group.count(jnp.any(scored, axis=1), groups.group_ids), 1)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=counted.astype(rewards.dtype) / (lengths * prompts),
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The linear form of the equation above."""
        if batch.old_logps is not None:
            raise ValueError("DisCO learns only from what the policy has just sampled: take one update per rollout.")
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy}
