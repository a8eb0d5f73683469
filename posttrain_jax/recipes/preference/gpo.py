"""General preference optimization (GPO; Zhang et al. 2024, arXiv:2410.02197, eq. 5.3).

    L = mean over completions (log pi(y)/pi_ref(y) - s / beta)^2,   s = tau mean_k log P(y > y_k) / P(y_k > y)

The reference is the policy of the iteration before (`reference.Moving(1.0, every=...)`), y_k the row's completions, y
among them with 0. The column `log_odds` holds s / tau: `OnlinePreference(GPO(), pairing.ranked, contest.judged)` takes
it from comparisons. SPPO is the same with P - 1/2 in the place of s. (Group preference optimization is another GPO.)
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import implicit_reward
from posttrain_jax.recipes.preference import column, pair, setting


@dataclasses.dataclass(frozen=True)
class GPO:
    """Log-ratios regressed on mean scores of general preferences."""

    beta: float = 0.001
    """What the scores are divided by (the paper has 0.001)."""
    tau: float = 0.1
    """Scores are log-odds times this; what a preference model's scores were divided by."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_beta(self.tau)

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
        """Rows alike, and the completions of a row with tokens and known log-odds alike."""
        odds = column.per_completion(self, columns, "log_odds", groups)
        mask = groups.completion_mask & ~jnp.isnan(odds)[:, :, None]
        rows = jnp.any(mask, axis=(1, 2)).astype(jnp.float32)
        weights, extra = rows / jnp.maximum(jnp.sum(rows), 1), {"log_odds": jnp.where(jnp.isnan(odds), 0, odds)}
        return types.PreferenceBatch(mask, weights, lookup.ref(groups).logps, extra=extra), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        ratios = implicit_reward.log_ratio_sum(policy.logps, pair.reference(self, batch), batch.completion_mask)
        errors = (ratios - self.tau / self.beta * batch.extra["log_odds"]) ** 2
        row = masked.mean(errors, jnp.any(batch.completion_mask, axis=-1), axis=1)
        return jnp.sum(batch.pair_weights * row), {"log_ratio": ratios, "error": row}
