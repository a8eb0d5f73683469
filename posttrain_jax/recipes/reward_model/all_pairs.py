"""A reward from rankings, pair by pair (InstructGPT: Ouyang et al. 2022, arXiv:2203.02155, eq. 1).

    L = -(2 / K (K - 1)) sum_{i < j} log sigmoid((s_i - s_j) / tau),   best first

All pairs of a prompt are in one row, which is the paper's remedy for overfitting. Rows may hold fewer than K
completions: the others are left empty. Every ranking counts alike, however many pairs it has.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import ranking
from posttrain_jax.recipes.reward_model import scored


@dataclasses.dataclass(frozen=True)
class AllPairs:
    """Bradley-Terry on every pair of a ranking."""

    temperature: float = 1.0
    """Of the scores (tau), in units of the reward per nat."""

    def __post_init__(self):
        scored.check_temperature(self.temperature)

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every row with at least two completions counts alike."""
        mask = groups.completion_mask
        return types.PreferenceBatch(completion_mask=mask, pair_weights=ranking.row_weights(mask))

    def loss(self, policy: scoring.Scores, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        rewards = scored.singles(self, policy, batch.completion_mask)
        losses = ranking.all_pairs(rewards / self.temperature, jnp.any(batch.completion_mask, axis=-1))
        return jnp.sum(batch.pair_weights * losses), {"reward": rewards}
