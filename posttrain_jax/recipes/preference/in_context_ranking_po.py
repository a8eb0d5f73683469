"""In-context ranking preference optimization (Wu et al. 2025, arXiv:2504.15477), also called IRPO.

    L = (1/N) sum_i w_i -log sigmoid(-log sum_{j != i} exp(beta [r_j - r_i])),   w_i = (2^{y_i} - 1) / log2(1 + tau_i)

r_i is the log-ratio to the reference of item i of a list, per token; y_i its grade, the column `grades`; tau_i its
place, counted from 1: completions stand in the order of the list. The sum is -(1/N) sum_i w_i log softmax(beta r)_i, a
listwise softmax with the gains of DCG. With two items of which the second has no gain it is w_1 / 2 times DPO on
log-ratios per token. A row may hold fewer than K items.

Sources disagree: the authors' code has the mean of the others in the place of their sum (`mean_rivals`), adds up over
the batch instead of averaging, and seems to score each token one place off. Not iterative RPO (`NLLRegularizedDPO`).
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import implicit_reward, ranking
from posttrain_jax.recipes.preference import column, foreseen, pair, setting


@dataclasses.dataclass(frozen=True)
class InContextRankingPO:
    """Every item of a list against all others, weighted by its grade and its place."""

    beta: float = 1.0
    """How dear it is to leave the reference (beta), per nat per token."""
    mean_rivals: bool = False
    """Compare with the mean of the other items, as the authors' code does, instead of their sum."""

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
        """Every row with at least two items counts alike; gains from the column `grades`, NaN leaving an item out."""
        grades = column.per_completion(self, columns, "grades", groups)
        known = ~jnp.isnan(grades)
        mask = groups.completion_mask & known[:, :, None]
        places = jnp.cumsum(jnp.any(mask, axis=-1), axis=1).astype(grades.dtype)
        gains = jnp.where(known, jnp.exp2(grades) - 1, 0) / jnp.log2(1 + jnp.maximum(places, 1))
        weights, ref_logps = ranking.row_weights(mask), lookup.ref(groups).logps
        extra = {"gains": gains, "known": known.astype(jnp.float32)}
        return types.PreferenceBatch(groups.completion_mask, weights, ref_logps, extra=extra), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        ratios = implicit_reward.log_ratio_mean(policy.logps, pair.reference(self, batch), batch.completion_mask)
        gains = foreseen.extra(self, batch, "gains")
        present = jnp.any(batch.completion_mask, axis=-1) & (batch.extra["known"] > 0)
        losses = ranking.softmax_gains(self.beta * ratios, gains, present, mean_rivals=self.mean_rivals)
        return jnp.sum(batch.pair_weights * losses), {"reward": self.beta * ratios}
