"""A reward of every step (Lightman et al. 2023, arXiv:2305.20050; Math-Shepherd: Wang et al. 2023, arXiv:2312.08935).

    L = mean over labelled steps of -q log sigmoid(z) - (1 - q) log sigmoid(-z)

z is the number after a step's last token, q its label between 0 and 1: the data's column `step_labels` [P, G, T] holds
it there and NaN elsewhere. Labels are hard (0 or 1, `step.hard`) or the success rates of rollouts from the step. One
label at the end of a completion is an outcome reward model. One reward of all steps: `losses.step`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import outcome, weight
from posttrain_jax.recipes.preference import column


@dataclasses.dataclass(frozen=True)
class ProcessReward:
    """Cross-entropy of whether a step is right."""

    average: weight.Average = weight.token_mean
    """`token_mean`: every step alike; `sequence_mean`: every completion alike, its steps sharing."""

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
        """Steps that are labelled, at tokens that count, count."""
        labels, mask = column.per_token(self, columns, "step_labels", groups), groups.completion_mask
        weights, extra = self.average(mask & ~jnp.isnan(labels)), {"step_labels": jnp.nan_to_num(labels)}
        return types.LikelihoodBatch(mask, weights, extra=extra), memory

    def loss(self, policy: scoring.Scores, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if policy.tokens.shape[-1] != 1:
            raise ValueError(f"a step has one label, and the head says {policy.tokens.shape[-1]} numbers: size=1.")
        logits, labels, counted = policy.tokens[..., 0], batch.extra["step_labels"], batch.token_weights > 0
        losses = outcome.cross_entropy(logits, labels)
        right, steps = counted & ((logits > 0) == (labels > 0.5)), jnp.maximum(jnp.sum(counted, axis=-1), 1)
        report = {"step_accuracy": jnp.sum(right, axis=-1) / steps, "steps": jnp.sum(counted, axis=-1)}
        return jnp.sum(batch.token_weights * losses), report
