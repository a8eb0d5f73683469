"""Learning from forking tokens alone, the 80/20 rule (Wang et al. 2025, arXiv:2506.01939).

    L = (1 / sum_i n_i) sum_i sum_t 1[H_it >= h] (DAPO's loss of the token)
    h = quantile 1 - share of the entropies of the batch's tokens

The other tokens stay in the denominator. The entropies are those of the sampler. Its expected gradient is DAPO's
without the terms of the tokens at which the policy was sure.
"""

import dataclasses

from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import weight
from posttrain_jax.recipes.policy import dapo


@dataclasses.dataclass(frozen=True)
class ForkingTokens:
    """DAPO on the tokens of highest entropy."""

    recipe: dapo.DAPO = dapo.DAPO()
    """Gives advantages, weights and loss."""
    share: float = 0.2
    """Of the counted tokens, those to learn from (rho)."""

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share} of the tokens cannot be learned from: choose it in (0, 1].")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """DAPO's, with weight 0 on tokens of low entropy."""
        batch = self.recipe.credit(rollout, rewards)
        forks = weight.top_entropy(rollout.sampler.entropy, batch.token_weights > 0, share=self.share)
        return dataclasses.replace(batch, token_weights=batch.token_weights * forks, extra={"forks": forks})

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        loss, metrics = self.recipe.loss(policy, batch)
        return loss, {**metrics, **batch.extra}
