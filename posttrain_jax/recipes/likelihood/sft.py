"""Supervised fine-tuning: textbook maximum likelihood of given completions.

    L = -(1 / sum_i n_i) sum_i sum_t log pi(y_it | x_i, y_i<t)

Tokens of the prompt are not learned. Up to a constant, the expected loss is KL(data || policy) per token.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import likelihood, weight


@dataclasses.dataclass(frozen=True)
class SFT:
    """Mean negative log-likelihood over all completion tokens of the batch."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P G T"] | None = None) -> types.LikelihoodBatch:
        """Every token counts alike; `ref_logps` is not looked at."""
        mask = groups.completion_mask
        return types.LikelihoodBatch(completion_mask=mask, token_weights=weight.token_mean(mask))

    def loss(self, policy: types.TokenStats, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        losses = likelihood.negative_log_likelihood(policy.logps)
        return jnp.sum(batch.token_weights * losses), {"nll": losses, "entropy": policy.entropy}
