"""Several labels of one completion (HelpSteer's regression: Wang et al. 2023, arXiv:2311.09528; four heads: MO-GRPO).

    L = sum M (s - Y)^2 / max(sum M, 1)

s are the d numbers after the last token, Y the data's column `labels` [P, G, d], M = 0 where a label is NaN: not known.
The sums run over the whole batch, so that a label weighs the same wherever it stands. One reward of all:
`outcome.combined`, with fixed weights or a gate's (`GatedBradleyTerry`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, scoring, types
from posttrain_jax.losses import outcome
from posttrain_jax.recipes.preference import column


@dataclasses.dataclass(frozen=True)
class AttributeRegression:
    """Squared error of every known label."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: Any
    ) -> tuple[types.LikelihoodBatch, Any]:
        """Every known label of a completion that is not empty counts alike.

        Raises:
            ValueError: there are no labels, or they are not [P, G, d].
        """
        labels, mask = column.take(self, columns, "labels"), groups.completion_mask
        if labels.shape[:-1] != mask.shape[:-1]:
            raise ValueError(f"'labels' {labels.shape} must have d numbers for each of {mask.shape[:2]} completions.")
        known = outcome.placed((~jnp.isnan(labels)).astype(jnp.float32), mask)
        targets = outcome.placed(jnp.nan_to_num(labels), mask)
        extra = {"labels": targets, "label_weights": known / jnp.maximum(jnp.sum(known), 1)}
        return types.LikelihoodBatch(mask, outcome.last(mask).astype(jnp.float32), extra=extra), memory

    def loss(self, policy: scoring.Scores, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        labels, weights = batch.extra["labels"], batch.extra["label_weights"]
        if policy.tokens.shape != labels.shape:
            raise ValueError(
                f"the head says {policy.tokens.shape[-1]} numbers and there are {labels.shape[-1]} labels."
            )
        errors = (policy.tokens - labels) ** 2
        report = {"absolute_error": masked.mean(jnp.abs(policy.tokens - labels), weights > 0, axis=(2, 3))}
        return jnp.sum(weights * errors), report
