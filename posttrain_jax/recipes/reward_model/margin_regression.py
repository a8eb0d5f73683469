"""Regression of score differences on those of the data (Zhang et al. 2024, arXiv:2410.02197, released code's variant).

    L = ((s_w - s_l) / tau - (g_w - g_l))^2 / 2

g are grades of the data (column `scores`). The loss is the mean over pairs. Only differences are fitted: a number of
the prompt may be added to the scores.
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
class MarginRegression:
    """Half the squared error of a difference of scores."""

    temperature: float = 1.0
    """Of the scores (tau), in units of the reward for one of the grades."""

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
        errors = (chosen - rejected) / self.temperature - batch.extra["grade_gaps"][:, None]
        losses = link.squared(errors, target=0.0) / 2
        report = scored.report(jnp.mean(chosen, axis=-1), jnp.mean(rejected, axis=-1))
        return jnp.sum(batch.pair_weights * scored.mean_over_members(losses)), report
