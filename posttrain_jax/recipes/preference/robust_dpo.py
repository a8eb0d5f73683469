"""DPO that noisy labels do not bias: robust DPO or rDPO (Ray Chowdhury et al. 2024, arXiv:2403.00409).

    L = [-(1 - e) log sigmoid(m) + e log sigmoid(-m)] / (1 - 2 e),   m as in DPO

Labels being wrong with probability e, its mean is the DPO loss of the right ones. It has no lower bound for e > 0: cDPO
(`DPO(label_noise=e)`) is the bounded, biased one. Not R-DPO, which is `LengthRegularizedDPO`.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class RobustDPO:
    """DPO with a loss that is unbiased under symmetric label noise."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    label_noise: float = 0.1
    """Probability that a label is the wrong way round (epsilon)."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_label_noise(self.label_noise)

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
        losses = link.unbiased_logistic(self.beta * (chosen - rejected), label_noise=self.label_noise)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
