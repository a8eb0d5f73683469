"""Generalised knowledge distillation (Agarwal et al. 2023, arXiv:2306.13649, eq. 3).

    L = (1/N) sum_i (1/n_i) sum_t D(teacher(. | x_i, y_i<t), pi(. | x_i, y_i<t))

D is exact over the vocabulary, and one loss serves given completions (`run_offline`: supervised) and, in `OnPolicy`,
the student's own (`run_online`), through whose sampling no gradient flows. The teacher is a fixed model of the role
`teacher`, of any width, with the student's vocabulary.

The divergence is one of a student p from a teacher q. The paper's JSD(beta), whose beta stands before the teacher, is
`GeneralizedJS(1 - beta)`. It vanishes at both ends; divided by beta it tends to `ForwardKL` as beta -> 0, divided by
1 - beta to `ReverseKL` as beta -> 1 (`multiple.generalized_js` divides by both). Here these two are asked for by name;
TRL puts them at the ends, undivided, so that its loss jumps there. A loss times tau^2 is `multiple.Multiple`.
Distilling sequences (Kim and Rush 2016) is `SFT` on completions that the teacher sampled.
"""

import dataclasses
from collections.abc import Mapping

from jaxtyping import Array, Float

from posttrain_jax import comparison, types
from posttrain_jax.losses import generator, weight


@dataclasses.dataclass(frozen=True)
class GKD:
    """The student's mean divergence from its teacher, on given completions."""

    divergence: comparison.Divergence | comparison.ByToken = generator.jensen_shannon()
    """D: `ForwardKL()` for supervised distillation, `ReverseKL()` seeks modes, `GeneralizedJS(1 - beta)` is between."""
    average: weight.Average = weight.sequence_mean
    """Over tokens: `weight.sequence_mean` as in the paper, `weight.token_mean` as in TRL."""
    temperature: float | None = 1.0
    """Divides the logits of both (tau), whatever tokens were sampled at; None takes what they were sampled at."""

    @property
    def needs_ref(self) -> bool:
        """Never: the teacher is a model of its own."""
        return False

    def comparisons(self, batch: types.LikelihoodBatch) -> Mapping[str, comparison.Comparison]:
        """D(teacher, pi)."""
        return {"teacher": comparison.Comparison(self.divergence, {"teacher": 1.0}, self.temperature)}

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P G T"] | None = None) -> types.LikelihoodBatch:
        """How tokens are averaged; `ref_logps` is not looked at."""
        mask = groups.completion_mask
        return types.LikelihoodBatch(completion_mask=mask, token_weights=self.average(mask))

    def loss(self, policy: types.TokenStats, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        distances = policy.divergences["teacher"]
        return (batch.token_weights * distances).sum(), {"teacher_divergence": distances, "entropy": policy.entropy}
