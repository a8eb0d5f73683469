"""Distillation from the likeliest entries of a teacher that runs: on given completions or, in `OnPolicy`, on own ones.

    L = (1/N) sum_i (1/n_i) sum_t D(teacher, pi) over k entries and one bucket of all others

`TopK` with the teacher beside the student in the place of its entries on disk, which cannot know what the student
writes. The entries are looked up before the update: those that are likeliest to the teacher, or, of which a reverse KL
has more, to the student. With all entries it is `GKD`; with fewer its value is never more, and its gradient moves all
other entries as one. Sampling that was cut (top-k, top-p) plays no part: distributions are whole.

Source: Agarwal et al. 2023 (GKD, arXiv:2306.13649) on the distribution that is left; the bucket is TRL's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Array, Float

from posttrain_jax import comparison, types
from posttrain_jax.losses import generator, tail, weight
from posttrain_jax.recipes import asked


@dataclasses.dataclass(frozen=True)
class LiveTopK:
    """The student's divergence from k entries of its teacher."""

    count: int
    """k."""
    compare: comparison.OfEntries = tail.Bucketed(generator.ForwardKL())
    """D and what stands for the rest: `tail.Bucketed`, `Entries`, `Renormalized`, `Partial`."""
    likely_to: str = "teacher"
    """Whose likeliest entries are compared: "teacher" or "policy"."""
    average: weight.Average = weight.sequence_mean
    """Over tokens: `weight.sequence_mean` as in `GKD`, or `weight.token_mean`."""
    temperature: float = 1.0
    """Divides the logits of both (tau)."""

    def __post_init__(self):
        if self.count < 1 or self.likely_to not in ("teacher", "policy"):
            raise ValueError(
                f"count={self.count}, likely_to={self.likely_to!r}: compare 1 entry or more, of 'teacher' or 'policy'."
            )

    @property
    def needs_ref(self) -> bool:
        """Never: the teacher is a model of its own."""
        return False

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Any, lookup: types.Lookup, memory: Any
    ) -> tuple[types.LikelihoodBatch, Any]:
        """How tokens are averaged, and the teacher's entries."""
        wanted = comparison.Likeliest(self.likely_to, "teacher", self.count, self.temperature)
        ids, log_probs = asked.likeliest(self, lookup, "teacher")(groups, wanted)
        mask, extra = groups.completion_mask, {"ids": ids, "log_probs": log_probs}
        return types.LikelihoodBatch(mask, self.average(mask), extra=extra), memory

    def comparisons(self, batch: types.LikelihoodBatch) -> Mapping[str, comparison.Request]:
        """D(teacher, pi) of the entries."""
        ids, log_probs = batch.extra["ids"], batch.extra["log_probs"]
        return {"teacher": comparison.Stored(self.compare, ids, log_probs, self.temperature)}

    def loss(self, policy: types.TokenStats, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        distances = policy.divergences["teacher"]
        return (batch.token_weights * distances).sum(), {"teacher_divergence": distances, "entropy": policy.entropy}
