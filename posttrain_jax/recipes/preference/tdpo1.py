"""TDPO1, token-level DPO (Zeng et al. 2024, arXiv:2404.11999): DPO that minds the divergence over the whole vocabulary.

    L = -log sigmoid(beta [D - (K_l - K_w)])       D = log pi(y_w)/ref(y_w) - log pi(y_l)/ref(y_l)
    K = sum_t KL(ref(.|y_<t) || pi(.|y_<t)), of either completion

Its gradient raises K_w, which is why `TDPO2` stops it there. Rewards are reported as beta (log-ratio + K), as in the
authors' code, which we follow where it and memory of the paper's equations could differ.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison, types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting, vocabulary_kl


@dataclasses.dataclass(frozen=True)
class TDPO1:
    """The margin of DPO, less how much further the rejected completion's distributions moved."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""

    def __post_init__(self):
        setting.check_beta(self.beta)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def comparisons(self, batch: Any) -> Mapping[str, comparison.Comparison]:
        """KL(ref || pi)."""
        return vocabulary_kl.FROM_REFERENCE

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike."""
        return pair.credit(self, groups, ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        kl_chosen, kl_rejected = vocabulary_kl.sums(self, policy, batch)
        losses = link.logistic(self.beta * (chosen - rejected - (kl_rejected - kl_chosen)))
        return jnp.sum(batch.pair_weights * losses), vocabulary_kl.report(self, policy, batch)
