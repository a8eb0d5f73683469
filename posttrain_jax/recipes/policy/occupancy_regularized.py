"""Reward less the root of a chi-squared divergence of completions, against hacked proxies (Laidlaw et al. 2024,
arXiv:2403.03185). The authors call it ORPO, occupancy-regularised; `ORPO` here is the odds-ratio method.

    max E[R] - lambda sqrt(chi2(pi || ref)):   R_i - lambda (u_i - 1) / sqrt(chi2),   u_i = pi(y_i) / ref(y_i)

The policy gradient of that reward is the gradient of the objective, provided that the policy itself has just sampled
the completions and the recipe that is held leaves the scale of rewards alone.

Differs from the paper: its language-model code adds lambda sqrt(mean(u + 1/u - 2)) to the loss, whose value is right
and whose gradient is half that of chi2 plus that of KL(ref || pi) (checked in the tests); this is its form for other
environments, with sequence ratios held within `limit`.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import occupancy
from posttrain_jax.recipes.policy import rloo


@dataclasses.dataclass(frozen=True)
class OccupancyRegularized:
    """Any online recipe without a reference of its own, on rewards that pay for leaving the reference."""

    coef: float
    """Weight of the root of the divergence (lambda), in reward; `occupancy.coefficient` gives the paper's."""
    recipe: types.OnlineRecipe = rloo.RLOO(kl_coef=0.0)
    """What learns from the rewards."""
    limit: float = 10.0
    """Log-ratios of completions are held within this, in nats."""
    trim: float = 0.01
    """Share of the ratios left out of the estimate of chi2 at either end."""

    def __post_init__(self):
        if self.recipe.needs_ref:
            raise ValueError(f"{type(self.recipe).__name__} weighs a divergence itself: set its kl_coef to 0.")
        if not (self.coef >= 0 and self.limit > 0 and 0 <= self.trim < 0.5):
            raise ValueError(
                f"coef={self.coef}, limit={self.limit}, trim={self.trim}: choose coef from 0, limit above 0, trim below"
                " a half."
            )

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """The recipe's, from the rewards that are left."""
        if ref_logps is None:
            raise ValueError("OccupancyRegularized compares with a reference: give ref_logps.")
        mask = rollout.groups.completion_mask
        log_ratios = masked.total(rollout.sampler.logps - ref_logps, mask, axis=-1)
        log_ratios = jnp.clip(log_ratios, -self.limit, self.limit)
        counted = jnp.any(mask, axis=-1) & ~jnp.isnan(rewards)
        paid = self.coef * occupancy.penalty(log_ratios, counted, trim=self.trim)
        return self.recipe.credit(rollout, rewards - paid)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return self.recipe.loss(policy, batch)
