"""Direct Nash optimization (DNO; Rosset et al. 2024, arXiv:2404.03715, algorithm 1).

    L = -z log sigmoid(m) - (1 - z) log sigmoid(-m),   z = sigmoid(r(y) - r(y')),   m = beta (a - a')
    a = log pi(y)/pi_ref(y),   r(y) = E_{y' ~ pi_ref} P(y > y')

The reference is the policy of the iteration before (`reference.Moving(1.0, every=...)`), which drew the pairs; the best
next policy is pi_ref exp(r / beta). The column `win_rates` holds r, which `OnlinePreference(DNO(),
pairing.AllPairs(), contest.judged)` takes from comparisons. z = 1 is DPO. The practical form is `DNOPrct`.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link, weight
from posttrain_jax.recipes.preference import column, pair, setting


@dataclasses.dataclass(frozen=True)
class DNO:
    """Logistic regression of log-ratios on win rates against the iterate before."""

    beta: float = 0.1
    """Temperature of the reward (eta), per nat."""

    def __post_init__(self):
        setting.check_beta(self.beta)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: tuple[()]
    ) -> tuple[types.PreferenceBatch, tuple[()]]:
        """Every pair counts alike, but those with an empty completion or a win rate that is NaN."""
        batch = pair.credit(self, groups, lookup.ref(groups).logps)
        first, second = pair.split(column.per_completion(self, columns, "win_rates", groups))
        known = ~jnp.isnan(first + second)
        weights = weight.pair_mean(batch.completion_mask & known[:, None, None])
        extra = {"targets": jax.nn.sigmoid(jnp.where(known, first - second, 0))}
        return dataclasses.replace(batch, pair_weights=weights, extra=extra), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        first, second = pair.log_ratio_sums(self, policy, batch)
        margins, targets = self.beta * (first - second), batch.extra["targets"]
        losses = targets * link.logistic(margins) + (1 - targets) * link.logistic(-margins)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * first, self.beta * second)
