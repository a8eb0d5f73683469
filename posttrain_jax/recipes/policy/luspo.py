"""Length-unbiased sequence policy optimization (LUSPO 2026, arXiv:2602.05261).

    L = (1/N) sum_i -n_i min(s_i A_i, clip(s_i, 1 - eps_low, 1 + eps_high) A_i),   s_i and A_i as in GSPO

Changes from GSPO: a completion weighs as much as it has tokens, so long ones are not held back. On policy its gradient
is that of REINFORCE with GRPO's advantages, summed over tokens.
"""

import dataclasses

from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import weight
from posttrain_jax.recipes.policy import gspo


@dataclasses.dataclass(frozen=True)
class LUSPO:
    """GSPO, each completion times its length."""

    recipe: gspo.GSPO = gspo.GSPO()
    """Gives advantages, clip ranges and loss."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """GSPO's, with weights that do not share a completion's weight among its tokens."""
        batch = self.recipe.credit(rollout, rewards)
        return dataclasses.replace(batch, token_weights=weight.sequence_sum(batch.token_weights > 0))

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above: GSPO's ratio stands on every token."""
        return self.recipe.loss(policy, batch)
