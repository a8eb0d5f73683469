"""AlphaPO: SimPO with another shape of the reward (Gupta et al. 2025, arXiv:2501.03884).

    L = -log sigmoid(beta [s(m_w) - s(m_l)] - gamma),   s(m) = (1 - exp(-alpha m)) / alpha,   m = log pi(y) / n

alpha -> 0 is SimPO. Exponents are held below 20, beyond which there is no gradient. The defaults are those that TRL's
documentation gives for Mistral-Instruct.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import generator, link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class AlphaPO:
    """SimPO on a power of the length-normalised probability."""

    alpha: float = 0.25
    """Shape (alpha), of either sign."""
    beta: float = 2.5
    """Scale of the scores (beta)."""
    target_margin: float = 0.1
    """Margin to reach (gamma)."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("target_margin", self.target_margin)
        if not abs(self.alpha) < float("inf"):
            raise ValueError(f"alpha={self.alpha} is no shape: choose a finite number.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty completion does not count."""
        return pair.credit(self, groups, ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        means = pair.logp_means(policy.logps, batch)
        chosen, rejected = (self.beta * generator.power(mean, alpha=self.alpha) for mean in means)
        losses = link.logistic(chosen - rejected - self.target_margin)
        return jnp.sum(batch.pair_weights * losses), pair.report(chosen, rejected)
