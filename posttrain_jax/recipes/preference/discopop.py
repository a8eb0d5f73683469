"""DiscoPOP, the log-ratio modulated loss that a language model discovered (Lu et al. 2024, arXiv:2406.08414, eq. 5).

    L = (1 - s) (-log sigmoid(m)) + s exp(-m),   s = sigmoid(m / tau),   m as in DPO

It does not fall everywhere: with tau = 0.05 it rises from a minimum at m = -0.12 to a maximum at m = 0.07, so that a
pair may come to rest on the wrong side.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class DiscoPOP:
    """A blend of the logistic and the exponential loss that changes over at margin 0."""

    beta: float = 0.05
    """How dear it is to leave the reference (beta), per nat."""
    temperature: float = 0.05
    """Width of the change (tau)."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature} must lie above 0.")

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
        losses = link.logistic_to_exponential(self.beta * (chosen - rejected), temperature=self.temperature)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
