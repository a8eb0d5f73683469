"""Distillation from a teacher of whom the likeliest entries are stored.

    L = (1/N) sum_i (1/n_i) sum_t D(teacher, pi) over the k entries and one bucket of all others

The teacher has run once, over all data (`train.teacher.store`); its columns are `teacher_ids` and `teacher_log_probs`
(`data.entries`). The head looks the student's log-probabilities up in its own pass. With all entries stored it is
`GKD`; with fewer its value is never more than that of `GKD`, and its gradient moves all other entries as one. Other
forms, which teach the student to be surer than the teacher, are in `losses.tail`; own completions want `LiveTopK`.

Source: Agarwal et al. 2023 (GKD, arXiv:2306.13649) on the distribution that is left; the bucket is TRL's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison, types
from posttrain_jax.losses import generator, tail, weight
from posttrain_jax.recipes.preference import column


@dataclasses.dataclass(frozen=True)
class TopK:
    """The student's divergence from the stored entries of its teacher, on given completions."""

    compare: comparison.OfEntries = tail.Bucketed(generator.ForwardKL())
    """D and what stands for the rest: `tail.Bucketed`, `Entries`, `Renormalized`, `Partial`."""
    average: weight.Average = weight.sequence_mean
    """Over tokens: `weight.sequence_mean` as in `GKD`, or `weight.token_mean`."""
    temperature: float = 1.0
    """Divides the student's logits (tau): what the teacher's were divided by when they were stored."""

    @property
    def needs_ref(self) -> bool:
        """Never: the teacher is in the data."""
        return False

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: Any
    ) -> tuple[types.LikelihoodBatch, Any]:
        """How tokens are averaged, and the teacher's entries."""
        ids, log_probs = (_entries(self, columns, f"teacher_{x}", groups) for x in ("ids", "log_probs"))
        mask, extra = groups.completion_mask, {"ids": ids.astype(jnp.int32), "log_probs": log_probs}
        return types.LikelihoodBatch(mask, self.average(mask), extra=extra), memory

    def comparisons(self, batch: types.LikelihoodBatch) -> Mapping[str, comparison.Request]:
        """D(teacher, pi) of the entries."""
        ids, log_probs = batch.extra["ids"], batch.extra["log_probs"]
        return {"teacher": comparison.Stored(self.compare, ids, log_probs, self.temperature)}

    def loss(self, policy: types.TokenStats, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        distances = policy.divergences["teacher"]
        return (batch.token_weights * distances).sum(), {"teacher_divergence": distances, "entropy": policy.entropy}


def _entries(recipe: TopK, columns: Mapping[str, Array], name: str, groups: types.Groups) -> Float[Array, "P G T k"]:
    values, shape = column.take(recipe, columns, name), groups.completion_mask.shape
    if values.ndim != 4 or values.shape[:2] != shape[:2] or values.shape[2] < shape[2]:
        raise ValueError(f"TopK wants entries of every token in {name!r}: {(*shape, 'k')}, not {values.shape}.")
    return values[:, :, : shape[2]]
