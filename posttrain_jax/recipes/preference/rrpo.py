"""Refined regularized preference optimization (Sarkar and Etemad 2025, arXiv:2504.12083).

    L = -log sigmoid(beta sum_t z_t [log pi/ref(y_w,t)] - beta sum_t z_t [log pi/ref(y_l,t)]) + alpha K_w
    K_w = sum_t KL(ref(.|y_w,<t) || pi(.|y_w,<t))

Only the phrases in which chosen and rejected differ are compared (z = 1); the whole chosen completion stays near the
reference. The data mark phrases in a column `differing` (`data.phrases.mark`), cut to the batch's length. The paper
prints the divergence with a sign inside a bracket; its code adds it, summed, and so do we. All tokens differing and
alpha = 0 is DPO; none differing leaves ln 2 and the divergence.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison, masked, types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import column, foreseen, pair, setting, vocabulary_kl


@dataclasses.dataclass(frozen=True)
class RRPO:
    """DPO on the phrases that differ, and a divergence that holds the chosen completion."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    kl_coef: float = 0.01
    """Weight of the divergence (alpha); the paper has 0.01 or 0.05, by model."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("kl_coef", self.kl_coef)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def comparisons(self, batch: Any) -> Mapping[str, comparison.Comparison]:
        """KL(ref || pi)."""
        return vocabulary_kl.FROM_REFERENCE

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: tuple[()]
    ) -> tuple[types.PreferenceBatch, tuple[()]]:
        """Every pair counts alike."""
        batch = pair.credit(self, groups, lookup.ref(groups).logps)
        differing = column.take(self, columns, "differing")[:, :, : groups.completions.shape[2]]
        return dataclasses.replace(batch, extra={"differing": differing}), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        ratios = foreseen.extra(self, batch, "differing") * (policy.logps - pair.reference(self, batch))
        chosen, rejected = pair.split(self.beta * masked.total(ratios, batch.completion_mask, axis=-1))
        kl, _ = vocabulary_kl.sums(self, policy, batch)
        losses = link.logistic(chosen - rejected) + self.kl_coef * kl
        return jnp.sum(batch.pair_weights * losses), pair.report(chosen, rejected) | {"chosen_kl": kl}
