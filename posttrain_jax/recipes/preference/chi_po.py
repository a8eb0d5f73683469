"""Chi-squared preference optimization (Huang et al. 2024, arXiv:2407.13399, algorithm 1).

    L = -log sigmoid(clip(beta [s(a_w) - s(a_l)], -2 R, 2 R)),   s(a) = exp(a) + a,   a = log pi(y)/pi_ref(y)

DPO under chi^2 + KL in the place of KL: leaving the reference far behind costs more. The optimum is
pi_ref W(exp((r - Z) / beta)), with Lambert's W. Without the clip it is `FDPO(power.ChiSquaredKL())`. Pairs
beyond the clip have no gradient, nor has exp(a) beyond a = 20. Sources disagree: one code of other people clamps a
itself to +-20 and has no outer clip; with the paper, a counts in full beside exp(a).
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link, power
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class ChiPO:
    """DPO with the score of chi^2 + KL."""

    beta: float = 0.05
    """How dear it is to leave the reference (beta), per nat."""
    max_reward: float | None = None
    """Bound of the reward (R_max) beyond twice which margins are cut; None cuts none."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        if self.max_reward is not None and not self.max_reward > 0:
            raise ValueError(f"max_reward={self.max_reward} cuts every margin off: choose it above 0, or None.")

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty completion does not count."""
        return pair.credit(self, groups, ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        score = power.ChiSquaredKL().derivative
        chosen, rejected = (self.beta * score(a) for a in pair.log_ratio_sums(self, policy, batch))
        margins = chosen - rejected
        if self.max_reward is not None:
            margins = jnp.clip(margins, -2 * self.max_reward, 2 * self.max_reward)
        return jnp.sum(batch.pair_weights * link.logistic(margins)), pair.report(chosen, rejected)
