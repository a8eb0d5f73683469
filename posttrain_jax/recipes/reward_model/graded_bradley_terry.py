"""Bradley-Terry with margins by how much better the chosen is (Llama 2: Touvron et al. 2023, arXiv:2307.09288, eq. 2).

    L = -log sigmoid((s_w - s_l - margin_coef (g_w - g_l)) / tau)

g are grades of the data (column `scores`: the gap may be a rating in steps). The loss is the mean over pairs.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import link
from posttrain_jax.recipes.reward_model import scored


@dataclasses.dataclass(frozen=True)
class GradedBradleyTerry:
    """Logistic loss of a difference that must exceed the data's own."""

    margin_coef: float = 1.0
    """Margin for a gap of 1 between the grades; Llama 2's margins run from 0 to 1, or from 0 to 3."""
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
        """Every pair counts alike; one with an empty completion, or a grade that is NaN, does not count."""
        return scored.graded(self, groups, columns), memory

    def loss(self, policy: scoring.Scores, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = scored.pair(policy, batch)
        margins = self.margin_coef * batch.extra["grade_gaps"][:, None]
        losses = link.logistic((chosen - rejected - margins) / self.temperature)
        report = scored.report(jnp.mean(chosen, axis=-1), jnp.mean(rejected, axis=-1))
        return jnp.sum(batch.pair_weights * scored.mean_over_members(losses)), report
