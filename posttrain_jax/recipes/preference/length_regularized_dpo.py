"""R-DPO: DPO that discounts length (Park et al. 2024, arXiv:2403.19159).

    L = -log sigmoid(m + alpha (n_w - n_l)),   m as in DPO,   n = tokens of the completion

Sources disagree on the sign. The reward r - alpha n gives the plus: a longer chosen completion passes for preferred
already, and less is learned from it. Many tables print a minus. Not robust DPO (rDPO), nor RPO.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class LengthRegularizedDPO:
    """DPO under a reward that charges for every token."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    length_coef: float = 0.01
    """Price of a token (alpha). The paper uses 0.01 to 0.05."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("length_coef", self.length_coef)

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
        lengths = jnp.sum(batch.completion_mask, axis=-1).astype(jnp.float32)
        excess = self.length_coef * (lengths[:, 0] - lengths[:, 1])
        losses = link.logistic(self.beta * (chosen - rejected) + excess)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
