"""Bradley-Terry on the share of judges that prefer the first (Bradley and Terry 1952, with several comparisons a pair).

    L = -q log sigmoid(d) - (1 - q) log sigmoid(-d),   d = (s_1 - s_2) / tau

q is the data's column `agreement` [P], between 0 and 1. The loss is the mean over pairs; its least is q's entropy.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import column, pair
from posttrain_jax.recipes.reward_model import scored


@dataclasses.dataclass(frozen=True)
class SoftBradleyTerry:
    """Cross-entropy between judges' agreement and the model's."""

    temperature: float = 1.0
    """Of the scores (tau), in units of the reward per nat."""

    def __post_init__(self):
        scored.check_temperature(self.temperature)

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: Any
    ) -> tuple[types.PreferenceBatch, Any]:
        """Every pair counts alike; one with an empty completion does not count."""
        batch, agreement = pair.credit(self, groups, None), column.take(self, columns, "agreement")
        return dataclasses.replace(batch, extra={"agreement": agreement}), memory

    def loss(self, policy: scoring.Scores, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        first, second = scored.pair(policy, batch)
        gaps = (first - second) / self.temperature
        noise = jnp.broadcast_to(1 - batch.extra["agreement"][:, None], gaps.shape)
        losses = link.logistic(gaps, label_noise=noise)
        report = scored.report(jnp.mean(first, axis=-1), jnp.mean(second, axis=-1))
        return jnp.sum(batch.pair_weights * scored.mean_over_members(losses)), report
