"""Noise contrastive alignment on pairs (Chen et al. 2024, arXiv:2402.05369).

    L = -log sigmoid(beta a_w) - 1/2 log sigmoid(-beta a_w) - 1/2 log sigmoid(-beta a_l),   a = log pi(y)/pi_ref(y)

The rewards themselves are fitted, not their difference alone, which keeps the chosen completion from becoming less
likely.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class NCA:
    """Two rewards, each classified against the noise of the reference."""

    beta: float = 0.01
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
        pull = link.logistic(self.beta * chosen)
        push = link.logistic(-self.beta * chosen) + link.logistic(-self.beta * rejected)
        return jnp.sum(batch.pair_weights * (pull + push / 2)), pair.report(self.beta * chosen, self.beta * rejected)
