"""Simple preference optimization (Meng et al. 2024, arXiv:2405.14734, eq. 6).

    L = -log sigmoid(beta (m_w - m_l) - gamma) + alpha NLL_w,   m = log pi(y) / n

Mean log-probabilities, no reference. The authors' code takes gamma / beta as its setting, and has a hinge besides the
logistic loss: `shape=link.hinge`. Its likelihood term (off by default, on in CPO-SimPO) is the mean over all chosen
tokens of the batch. Their runs, beta and gamma / beta at a learning rate (128 pairs a batch, one epoch): Mistral-Base 2
and 0.8 at 3e-7, Mistral-Instruct 2.5 and 0.1 at 5e-7, Llama3-Base 2 and 0.5 at 6e-7, Llama3-Instruct 2.5 and 0.55 at
1e-6 (v0.2: 10 and 0.3), gemma-2-9b-it 10 and 0.5 at 8e-7.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link, weight
from posttrain_jax.recipes.preference import chosen_likelihood, pair, setting


@dataclasses.dataclass(frozen=True)
class SimPO:
    """Logistic loss of length-normalised log-probabilities with a target margin."""

    beta: float = 2.0
    """Scale of the mean log-probabilities (beta). The authors use 2 to 2.5, and 10."""
    target_margin: float = 1.0
    """Margin to reach (gamma); gamma / beta lies between 0.1 and 0.8 in the authors' runs."""
    nll_coef: float = 0.0
    """Weight of the likelihood of chosen completions (alpha)."""
    shape: Callable[[Float[Array, "P"]], Float[Array, "P"]] = link.logistic
    """What the margin less gamma costs."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("target_margin", self.target_margin)
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
        chosen, rejected = pair.logp_means(policy.logps, batch)
        losses = self.shape(self.beta * (chosen - rejected) - self.target_margin)
        total = jnp.sum(batch.pair_weights * losses)
        nll = chosen_likelihood.negative_log_likelihood(self, policy, batch)
        return total + self.nll_coef * nll, pair.report(self.beta * chosen, self.beta * rejected)
