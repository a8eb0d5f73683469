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
from jaxtyping import Array, Bool, Float

from posttrain_jax import comparison, types
from posttrain_jax.losses import generator, weight


@types.struct
class TaughtBatch:
    """What the loss reads beside the policy's statistics."""

    completion_mask: Bool[Array, "P G T"]
    """Counted tokens."""
    token_weights: Float[Array, "P G T"]
    """Normalised over the whole batch."""
    alphas: Float[Array, "P G T"]
    """alpha_t: how far the teacher is extrapolated."""


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

    def comparisons(self, batch: TaughtBatch) -> Mapping[str, comparison.Comparison]:
        """KL(pi || teacher)."""
        combined = {"dpo": 1 + batch.alphas, "reverse_dpo": -batch.alphas}
        return {"teacher": comparison.Comparison(generator.ReverseKL(), combined)}

    def credit(
        self,
        groups: types.Groups,
        ref_logps: Float[Array, "P G T"] | None = None,
        *,
        total_variations: Float[Array, "P G T"],
    ) -> TaughtBatch:
        """How far to extrapolate at each token."""
        mask = groups.completion_mask
        alphas = jnp.where(mask, self.extrapolation * 2 * total_variations + 1e-3, 1)
        return TaughtBatch(mask, weight.sequence_mean(mask), alphas)

    def loss(self, policy: types.TokenStats, batch: TaughtBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        kl = policy.divergences["teacher"]
        losses = self.kl_coef / batch.alphas * kl
        return jnp.sum(batch.token_weights * losses), {"teacher_kl": kl, "alpha": batch.alphas}
