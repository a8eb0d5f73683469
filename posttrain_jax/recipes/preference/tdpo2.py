"""TDPO2, token-level DPO (Zeng et al. 2024, arXiv:2404.11999), without TDPO1's pull on the chosen completion.

    L = -log sigmoid(beta [D - alpha (K_l - sg(K_w))])       D = log pi(y_w)/ref(y_w) - log pi(y_l)/ref(y_l)
    K = sum_t KL(ref(.|y_<t) || pi(.|y_<t)), of either completion;  sg stops the gradient

alpha = 0 is DPO; alpha = 1 has the value of TDPO1, and another gradient. Rewards are reported as beta (log-ratio + K).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison, types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting, vocabulary_kl


@dataclasses.dataclass(frozen=True)
class TDPO2:
    """The margin of DPO, less a share of how much further the rejected completion's distributions moved."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    kl_coef: float = 0.5
    """Weight of the divergences' difference (alpha)."""

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

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike."""
        return pair.credit(self, groups, ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        kl_chosen, kl_rejected = vocabulary_kl.sums(self, policy, batch)
        excess = kl_rejected - jax.lax.stop_gradient(kl_chosen)
        losses = link.logistic(self.beta * (chosen - rejected - self.kl_coef * excess))
        return jnp.sum(batch.pair_weights * losses), vocabulary_kl.report(self, policy, batch)
