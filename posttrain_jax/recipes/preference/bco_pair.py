"""Binary classifier optimization on pairs (Jung et al. 2024, arXiv:2404.04656), without reward shift.

    L = -log sigmoid(beta a_w) - log sigmoid(-beta a_l),   a = log pi(y)/pi_ref(y)

The unpaired method (`BCO`) subtracts a running mean of the rewards. On pairs older TRL does so too; newer TRL leaves it
out, and so is it here.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class BCOPair:
    """Each completion classified by itself: chosen or rejected."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""

    def __post_init__(self):
        setting.check_beta(self.beta)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty completion does not count."""
        return pair.credit(self, groups, ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        losses = link.logistic(self.beta * chosen) + link.logistic(-self.beta * rejected)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
