"""Anchored preference optimization, "APO-zero" (D'Oosterlinck et al. 2024, arXiv:2408.06266, eq. 7).

    L = 1 - sigmoid(beta a_w) + sigmoid(beta a_l),   a = log pi(y)/pi_ref(y)

For chosen completions that are better than the model's own: they become more likely, rejected ones less. Three methods
are called APO: this pair (see `AnchoredPODown`), and accelerated (Nesterov) preference optimization.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class AnchoredPOZero:
    """Chosen up, rejected down, each measured from the reference."""

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
        losses = 1 - jax.nn.sigmoid(self.beta * chosen) + jax.nn.sigmoid(self.beta * rejected)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
