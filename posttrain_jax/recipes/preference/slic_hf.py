"""Sequence likelihood calibration with human feedback (Zhao et al. 2023, arXiv:2305.10425).

    L = max(0, delta - log pi(y_w) + log pi(y_l)) - lambda log pi(y_w)

Log-probabilities are sums over the completion. The likelihood is that of targets of the
supervised data in the paper, and of the chosen completions here.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class SLiCHF:
    """Hinge loss of the difference of log-probabilities, and likelihood of the chosen completion, without reference."""

    margin: float = 1.0
    """Difference of log-probabilities to reach (delta), in nats."""
    nll_coef: float = 0.1
    """Weight of the likelihood of chosen completions (lambda)."""

    def __post_init__(self):
        if not self.margin > 0:
            raise ValueError(f"margin={self.margin} asks for no difference: choose it above 0 nats.")
        setting.check_coefficient("nll_coef", self.nll_coef)

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty completion does not count."""
        return pair.credit(self, groups, ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.logp_sums(policy.logps, batch)
        losses = jax.nn.relu(self.margin - (chosen - rejected)) - self.nll_coef * chosen
        return jnp.sum(batch.pair_weights * losses), pair.report(chosen, rejected)
