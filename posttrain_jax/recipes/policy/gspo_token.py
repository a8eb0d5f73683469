"""GSPO-token: GSPO for advantages that differ from token to token (Zheng et al. 2025, arXiv:2507.18071, section 4.3).

    L = (1/N) sum_i (1/n_i) sum_t -min(s_it A_it, clip(s_it, 1 - eps_low, 1 + eps_high) A_it)
    s_it = sg(s_i) pi(y_it) / sg(pi(y_it)),   s_i as in GSPO

Equal to GSPO in value and gradient where the advantage is one number for each completion, as `credit` makes it; its use
is with a `batch` whose advantages were changed token by token.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import ratio, surrogate
from posttrain_jax.recipes.policy import gspo


@dataclasses.dataclass(frozen=True)
class GSPOToken:
    """GSPO whose ratio has its completion's value and its own token's gradient."""

    recipe: gspo.GSPO = gspo.GSPO()
    """Gives credit and clip ranges."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """GSPO's."""
        return self.recipe.credit(rollout, rewards)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        low, high = self.recipe.clip_low, self.recipe.clip_high
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        log_ratios = ratio.sequence_token(log_ratios, batch.completion_mask)
        losses = surrogate.clipped(log_ratios, batch.advantages, low=low, high=high)
        cut = surrogate.clip_fraction(log_ratios, batch.advantages, low=low, high=high)
        metrics = {"ratio": ratio.exp(log_ratios), "clip_fraction": cut, "entropy": policy.entropy}
        return jnp.sum(batch.token_weights * losses), metrics
