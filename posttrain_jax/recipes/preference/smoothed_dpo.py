"""SmPO: preferences smoothed by a score (Lu et al. 2025, SmPO-Diffusion, arXiv:2506.02698).

    L = -log sigmoid(gamma (2 p - 1) m),   p = sigmoid(s_w - s_l),   m as in DPO

A pair whose completions score alike teaches nothing; one scored the wrong way round is turned round. The factor has no
gradient. At m = 0 the gradient is that of cDPO with label noise 1 - p (times gamma), but where cDPO stops at
log(p / (1 - p)), this goes on. The paper is on diffusion: `losses/denoising.py` says how to give denoising errors. On
language models the form is known as geometric or soft-label DPO.

Differs from the paper: the authors' code gives all pairs of a micro-batch the p of the first (it runs with one).
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link, weight
from posttrain_jax.recipes.preference import column, foreseen, pair, setting


@dataclasses.dataclass(frozen=True)
class SmoothedDPO:
    """DPO whose margin is scaled by how much better the chosen completion scores."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat; 2000 to 5000 on denoising errors."""
    sharpness: float = 10.0
    """Scale of the factor (gamma)."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        if not self.sharpness > 0:
            raise ValueError(f"sharpness={self.sharpness} turns every pair round: choose it above 0.")

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def factors(self, scores: Float[Array, "P K"]) -> Float[Array, "P"]:
        """gamma (2 p - 1), from scores that the paper rescales to [0, 1] over the whole data set (`rating.min_max`)."""
        chosen, rejected = pair.split(scores)
        return jax.lax.stop_gradient(self.sharpness * jnp.tanh((chosen - rejected) / 2))

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: tuple[()]
    ) -> tuple[types.PreferenceBatch, tuple[()]]:
        """Factors from the column `scores`; every pair counts alike, but those with a score that is NaN."""
        batch = pair.credit(self, groups, lookup.ref(groups).logps)
        scores = column.per_completion(self, columns, "scores", groups)
        known = ~jnp.isnan(scores)
        weights = weight.pair_mean(batch.completion_mask & known[:, :, None])
        factors = self.factors(jnp.where(known, scores, 0))
        return dataclasses.replace(batch, pair_weights=weights, extra={"factors": factors}), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        factors = self.beta * foreseen.extra(self, batch, "factors")
        losses = link.logistic(factors * (chosen - rejected))
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
