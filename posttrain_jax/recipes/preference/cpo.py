"""Contrastive preference optimization (Xu et al. 2024, arXiv:2401.08417).

    L = -log sigmoid(beta [log pi(y_w) - log pi(y_l)]) + alpha NLL_w

Sums in the preference, no reference. Differs from the paper: NLL_w is the mean over all chosen tokens of the batch, as
in the authors' trainer and in TRL, where the paper prints the sum -log pi(y_w). The authors' trainer today multiplies
log pi(y_l) by an adaptive factor, which is their later ARPO and not here; with `simpo` as its loss it is `SimPO`.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link, weight
from posttrain_jax.recipes.preference import chosen_likelihood, pair, setting


@dataclasses.dataclass(frozen=True)
class CPO:
    """DPO with a uniform reference, and likelihood of the chosen completions."""

    beta: float = 0.1
    """Scale of the log-probabilities (beta), per nat."""
    nll_coef: float = 1.0
    """Weight of the likelihood of chosen completions (alpha of the code)."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("nll_coef", self.nll_coef)

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike, and so does every token of the chosen completions."""
        batch = pair.credit(self, groups, ref_logps)
        return dataclasses.replace(batch, token_weights=weight.token_mean(chosen_likelihood.mask(batch)))

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.logp_sums(policy.logps, batch)
        losses = link.logistic(self.beta * (chosen - rejected))
        total = jnp.sum(batch.pair_weights * losses)
        nll = chosen_likelihood.negative_log_likelihood(self, policy, batch)
        return total + self.nll_coef * nll, pair.report(self.beta * chosen, self.beta * rejected)
