"""AlignDistil: alignment as distillation from two DPO models (Zhang et al. 2025, arXiv:2503.02832).

    L = sum_t (b_1 / alpha_t) KL(pi || teacher_t) / |y|,   alpha_t = c |p_dpo - p_neg|_1 + 1e-3
    teacher_t = softmax(z_dpo + alpha_t (z_dpo - z_neg))

z are logits; `dpo` was trained by DPO, `reverse_dpo` (z_neg) with chosen and rejected swapped. The teacher is the
further extrapolated the more the two disagree. It is never formed: the head compares the policy with the combination of
logits. Give both to the loop as `fixed`, and to `credit` their total variation, half of the L1 distance, which
`reference.make_score(..., comparisons=)` gives. Sequences are means over tokens, and count alike. From the authors'
code; where both models agree the weight is b_1 / 1e-3, and the divergence small.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison, types
from posttrain_jax.losses import generator, weight


@dataclasses.dataclass(frozen=True)
class AlignDistil:
    """Reverse KL to a teacher that extrapolates from a badly to a well aligned model."""

    kl_coef: float = 0.1
    """b_1."""
    extrapolation: float = 10.0
    """c: 10 on given completions, 15 on the policy's own."""

    @property
    def needs_ref(self) -> bool:
        """Never: the two DPO models take its place."""
        return False

    def comparisons(self, batch: types.LikelihoodBatch) -> Mapping[str, comparison.Comparison]:
        """KL(pi || teacher)."""
        alphas = batch.extra["alphas"]
        combined = {"dpo": 1 + alphas, "reverse_dpo": -alphas}
        return {"teacher": comparison.Comparison(generator.ReverseKL(), combined)}

    def credit(
        self,
        groups: types.Groups,
        ref_logps: Float[Array, "P G T"] | None = None,
        *,
        total_variations: Float[Array, "P G T"],
    ) -> types.LikelihoodBatch:
        """How far to extrapolate at each token."""
        mask = groups.completion_mask
        alphas = jnp.where(mask, self.extrapolation * 2 * total_variations + 1e-3, 0)
        return types.LikelihoodBatch(mask, weight.sequence_mean(mask), extra={"alphas": alphas})

    def loss(self, policy: types.TokenStats, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        kl = policy.divergences["teacher"]
        alphas = jnp.where(batch.completion_mask, batch.extra["alphas"], 1)
        losses = self.kl_coef / alphas * kl
        return jnp.sum(batch.token_weights * losses), {"teacher_kl": kl, "alpha": alphas}
