"""Direct preference optimization (Rafailov et al. 2023, arXiv:2305.18290, eq. 7); noisy labels: cDPO (Mitchell 2023).

    L = -log sigmoid(m),   m = beta [log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)]

Log-probabilities are sums over the completion; the loss is the mean over pairs.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class DPO:
    """Logistic loss of the margin between the implicit rewards of a chosen and a rejected completion."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat. The paper uses 0.1, and 0.5 for summaries."""
    label_noise: float = 0.0
    """Probability that a label is the wrong way round (epsilon of cDPO)."""

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
        losses = link.logistic(self.beta * (chosen - rejected), label_noise=self.label_noise)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
