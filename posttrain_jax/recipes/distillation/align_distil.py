"""AlignDistil: alignment as distillation from two DPO models (Zhang et al. 2025, arXiv:2503.02832).

    L = sum_t (b_1 / alpha_t) KL(pi || teacher_t) / |y|,   alpha_t = c |p_dpo - p_neg|_1 + 1e-3
    teacher_t = softmax(z_dpo + alpha_t (z_dpo - z_neg))

z are logits; `dpo` was trained by DPO, `reverse_dpo` (z_neg) with chosen and rejected swapped. The teacher is the
further extrapolated the more the two disagree. It is never formed: the head compares the policy with the combination of
logits, and the two with one another. Give both to the loop as `fixed`; in `OnPolicy` it learns from the policy's own
completions, with c = 15. Sequences are means over tokens, and count alike. From the authors' code (some summaries have
the teacher extrapolated less the more the two disagree); where they agree the weight is b_1 / 1e-3.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from posttrain_jax import comparison, types
from posttrain_jax.losses import generator, variation, weight
from posttrain_jax.recipes import asked


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

    def init_memory(self) -> tuple[()]:
        """Nothing is remembered."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Any, lookup: types.Lookup, memory: PyTree
    ) -> tuple[types.LikelihoodBatch, PyTree]:
        """How far to extrapolate at each token: by the distance of the two models there."""
        mask, between = groups.completion_mask, comparison.Comparison(variation.TotalVariation(), {"reverse_dpo": 1.0})
        asked.model(self, lookup, "reverse_dpo")
        dpo = asked.model(self, lookup, "dpo")(groups, comparisons={"between": between})
        alphas = jnp.where(mask, self.extrapolation * 2 * dpo.divergences["between"] + 1e-3, 0)
        return types.LikelihoodBatch(mask, weight.sequence_mean(mask), extra={"alphas": alphas}), memory

    def loss(self, policy: types.TokenStats, batch: types.LikelihoodBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        kl = policy.divergences["teacher"]
        alphas = jnp.where(batch.completion_mask, batch.extra["alphas"], 1)
        losses = self.kl_coef / alphas * kl
        return jnp.sum(batch.token_weights * losses), {"teacher_kl": kl, "alpha": alphas}
