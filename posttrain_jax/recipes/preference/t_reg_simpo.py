"""T-REG around SimPO, SimPO-REG (Zhou et al. 2024, arXiv:2412.02685).

    L = -log sigmoid(m) - alpha sg(sigmoid(-m)) sum_y (beta / n_y) sum_t r_t log pi(y_t),   m = beta (m_w - m_l) - gamma

m_y are log-probabilities per token, r_t the token rewards of `TREG`, over both completions. The reference only gives
r_t. alpha = 0 is SimPO. Reconstructed: beta / n_y in the place of TREG's beta.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import link, weight
from posttrain_jax.recipes.preference import foreseen, pair, setting, t_reg


@dataclasses.dataclass(frozen=True)
class TREGSimPO:
    """SimPO, and likelihood of each token as good as the reference finds it."""

    beta: float = 2.0
    """Scale of the log-probabilities per token (beta)."""
    target_margin: float = 1.0
    """Margin to reach (gamma)."""
    regularization: float = 0.25
    """Weight of the tokens' likelihood (alpha): 0.1, 0.25 or 0.5 in the paper."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("target_margin", self.target_margin)
        setting.check_coefficient("regularization", self.regularization)

    @property
    def needs_ref(self) -> bool:
        """Always, for the token rewards."""
        return True

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: tuple[()]
    ) -> tuple[types.PreferenceBatch, tuple[()]]:
        """Every pair counts alike; token rewards from two passes of the reference."""
        mask, extra = groups.completion_mask, {"token_rewards": t_reg.ask(self, groups, columns, lookup)}
        return types.PreferenceBatch(mask, weight.pair_mean(mask), extra=extra), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = (self.beta * x for x in pair.logp_means(policy.logps, batch))
        margins = chosen - rejected - self.target_margin
        rewards = jax.lax.stop_gradient(foreseen.extra(self, batch, "token_rewards"))
        pushed = self.beta * jnp.sum(masked.mean(rewards * policy.logps, batch.completion_mask, axis=-1), axis=-1)
        losses = link.logistic(margins) - self.regularization * jax.lax.stop_gradient(jax.nn.sigmoid(-margins)) * pushed
        return jnp.sum(batch.pair_weights * losses), pair.report(chosen, rejected)
