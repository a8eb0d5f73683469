"""DPO on rankings (Rafailov et al. 2023, arXiv:2305.18290, appendix A.3).

    L = -sum_{k < K} [s_k - log sum_{j >= k} exp(s_j)],   s = beta log pi(y)/pi_ref(y),   best first

Rows may hold fewer than K completions: the others are left empty. With two it is DPO.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import implicit_reward, ranking
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class PlackettLuceDPO:
    """Likelihood of a whole ranking under the model of Plackett and Luce."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""

    def __post_init__(self):
        setting.check_beta(self.beta)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every row with at least two completions counts alike."""
        if ref_logps is None:
            raise ValueError("PlackettLuceDPO compares the policy with a reference: pass ref_logps.")
        mask = groups.completion_mask
        pair_weights = ranking.row_weights(mask)
        return types.PreferenceBatch(completion_mask=mask, pair_weights=pair_weights, ref_logps=ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        ref_logps = pair.reference(self, batch)
        rewards = self.beta * implicit_reward.log_ratio_sum(policy.logps, ref_logps, batch.completion_mask)
        losses = ranking.plackett_luce(rewards, jnp.any(batch.completion_mask, axis=-1))
        return jnp.sum(batch.pair_weights * losses), {"reward": rewards}
