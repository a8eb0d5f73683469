"""DPO with a hinge in the place of the logistic loss (RSO's "hinge-norm": Liu et al. 2023, arXiv:2309.06657).

    L = max(0, 1 - m),   m as in DPO

Pairs with a margin above 1 have no gradient. SLiC-HF is the same hinge without a reference: `SLiCHF`.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class HingeDPO:
    """Hinge loss of the margin between implicit rewards."""

    beta: float = 0.05
    """How dear it is to leave the reference (gamma), per nat: 1 / beta is the margin asked for, in nats."""

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
        losses = link.hinge(self.beta * (chosen - rejected))
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
