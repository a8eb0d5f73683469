"""DPO on log-ratios per token, as trained in Tulu 3 (Lambert et al. 2024, arXiv:2411.15124).

L = -log sigmoid(beta [a_w / n_w - a_l / n_l]),   a = log pi(y)/pi_ref(y),   n = tokens of the completion
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class LengthNormalizedDPO:
    """Logistic loss of the margin between implicit rewards per token."""

    beta: float = 5.0
    """How dear it is to leave the reference (beta), per nat and token; about the length larger than in DPO."""

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
        chosen, rejected = pair.log_ratio_means(self, policy, batch)
        losses = link.logistic(self.beta * (chosen - rejected))
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
