"""TW-GRPO: focused thinking, tokens weighed by how much completions differ there (Dang et al. 2025, arXiv:2505.24718).

    L = (1 / sum_i n_i) sum_i sum_t w_t -min(r A, clip(r, 1 - eps_low, 1 + eps_high) A),   A = z(R) within the group
    w_t = 1 + (alpha - 1) (x_t - min x) / (max x - min x),   x_t how far the distributions at position t lie apart

The denominator counts tokens, not weights. alpha = 1 is token-mean GRPO. The weights are what `losses.focus` makes of
whole distributions [P, G, T, V], `disagreement` as in the code or `divergence`; no loop of ours forms these, so it is
for your own. Positions are compared although the texts before them differ. Weights bend the expected gradient.

Differs from the authors' code: no gradient flows through the weights.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import focus, weight
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class TWGRPO:
    """GRPO by tokens that are weighed by where completions part."""

    most: float = 1.7
    """The weight of the position that does most (alpha)."""
    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.0, clip_high=0.28)
    """Gives advantages and loss."""

    def __post_init__(self):
        if not self.most >= 1:
            raise ValueError(f"most={self.most} weighs least where completions part: choose 1 or more.")

    @property
    def needs_ref(self) -> bool:
        """As GRPO does."""
        return self.recipe.needs_ref

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        ref_logps: Float[Array, "P G T"] | None = None,
        *,
        apart: Float[Array, "P T"] | None = None,
    ) -> types.PolicyBatch:
        """GRPO's, tokens weighed by `apart` of their position (x); completions whose reward is NaN do not count."""
        if apart is None:
            raise ValueError("TWGRPO weighs positions: give `apart`, what `focus.disagreement` says of the policy.")
        counted = rollout.groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        batch = self.recipe.credit(rollout, rewards, ref_logps)
        weights = focus.weights(jax.lax.stop_gradient(apart), counted, most=self.most)
        return dataclasses.replace(batch, token_weights=weights * weight.token_mean(counted))

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        return self.recipe.loss(policy, batch)
