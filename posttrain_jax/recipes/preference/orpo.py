"""Odds ratio preference optimization (Hong et al. 2024, arXiv:2403.07691, eq. 6 and 7).

    L = NLL_w - lambda log sigmoid(log odds(y_w) - log odds(y_l)),   odds = p / (1 - p),   log p = log pi(y) / n

Sources disagree twice. p is the geometric mean over tokens (paper, authors' code, TRL); with the sum, as in some ports,
the odds are the probability itself. NLL_w is here the mean over the tokens of y_w, then over
pairs, as the paper writes it; TRL and the authors average over all tokens of the batch, prompts included.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import implicit_reward, link, weight
from posttrain_jax.recipes.preference import chosen_likelihood, pair, setting


@dataclasses.dataclass(frozen=True)
class ORPO:
    """Likelihood of the chosen completions, and a logistic loss of the odds ratio, in one stage without reference."""

    odds_coef: float = 0.1
    """Weight of the odds ratio (lambda)."""

    def __post_init__(self):
        setting.check_coefficient("odds_coef", self.odds_coef)

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike, and so does every chosen completion."""
        batch = pair.credit(self, groups, ref_logps)
        return dataclasses.replace(batch, token_weights=weight.sequence_mean(chosen_likelihood.mask(batch)))

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = (implicit_reward.log_odds(mean) for mean in pair.logp_means(policy.logps, batch))
        losses = self.odds_coef * link.logistic(chosen - rejected)
        nll = chosen_likelihood.negative_log_likelihood(self, policy, batch)
        return nll + jnp.sum(batch.pair_weights * losses), pair.report(chosen, rejected)
