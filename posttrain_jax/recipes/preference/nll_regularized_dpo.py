"""DPO + NLL: the loss of iterative RPO (Pang et al. 2024, arXiv:2404.19733, eq. 1).

    L = -log sigmoid(m) + alpha NLL_w,   m as in DPO,   NLL_w = -log pi(y_w) / n_w

Every chosen completion weighs alike, as the paper writes it; TRL's `rpo_alpha` averages over all chosen tokens of the
batch. Not in-context ranking (also "IRPO"), R-DPO (`LengthRegularizedDPO`) or robust DPO (`RobustDPO`).
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link, weight
from posttrain_jax.recipes.preference import chosen_likelihood, pair, setting


@dataclasses.dataclass(frozen=True)
class NLLRegularizedDPO:
    """DPO, and likelihood of the chosen completions per token."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    nll_coef: float = 1.0
    """Weight of the likelihood (alpha). The paper uses 1, and tries 0.25 to 2."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("nll_coef", self.nll_coef)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike, and so does every chosen completion."""
        batch = pair.credit(self, groups, ref_logps)
        return dataclasses.replace(batch, token_weights=weight.sequence_mean(chosen_likelihood.mask(batch)))

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        losses = link.logistic(self.beta * (chosen - rejected))
        total = jnp.sum(batch.pair_weights * losses)
        nll = chosen_likelihood.negative_log_likelihood(self, policy, batch)
        return total + self.nll_coef * nll, pair.report(self.beta * chosen, self.beta * rejected)
