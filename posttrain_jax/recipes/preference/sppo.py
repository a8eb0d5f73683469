"""Self-play preference optimization (Wu et al. 2024, arXiv:2405.00675).

    L = (a_w - eta (P_w - 1/2))^2 + (a_l - eta (P_l - 1/2))^2,   a = log pi(y)/pi_ref(y)

The reference is the policy of the iteration before, P the probability that y beats a completion of it. The data hold
both in a column `win_rates`; without one, P_w = 1 and P_l = 0: the hard form.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link, weight
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class SPPO:
    """Squared regression of log-ratios on win rates."""

    beta: float = 0.001
    """1 / eta (the paper has eta = 1000), per nat."""

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
        hard = jnp.broadcast_to(jnp.array([1.0, 0.0]), groups.completion_lengths.shape)
        win_rates = columns.get("win_rates", hard)
        known = ~jnp.isnan(win_rates)
        pair_weights = weight.pair_mean(batch.completion_mask & known[:, :, None])
        extra = {"win_rates": jnp.where(known, win_rates, 0.5)}
        return dataclasses.replace(batch, pair_weights=pair_weights, extra=extra), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        if "win_rates" not in batch.extra:
            raise ValueError("SPPO reads win rates: let credit make the batch, or give it extra={'win_rates': ...}.")
        targets = (batch.extra["win_rates"] - 0.5) / self.beta
        losses = link.squared(chosen - targets[:, 0], target=0.0) + link.squared(rejected - targets[:, 1], target=0.0)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
