"""A reward from rankings (Plackett 1975; for language models: Zhu et al. 2023, arXiv:2301.11270).

    L = -sum_{k < min(K, top + 1)} [s_k - log sum_{j >= k} exp(s_j)],   best first, s divided by tau

With two completions it is `BradleyTerry`. Rows may hold fewer than K completions: the others are left empty. Every
ranking counts alike. Equal ranks have no order: leave one of them out.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import ranking
from posttrain_jax.recipes.reward_model import scored


@dataclasses.dataclass(frozen=True)
class PlackettLuce:
    """Likelihood of a ranking, or of its first picks."""

    temperature: float = 1.0
    """Of the scores (tau), in units of the reward per nat."""
    top: int | None = None
    """Picks that count (m); None for the whole ranking. 1 says which is the best and no more."""

    def __post_init__(self):
        scored.check_temperature(self.temperature)
        if self.top is not None and self.top < 1:
            raise ValueError(f"top={self.top} picks teach nothing: give at least 1, or None for the whole ranking.")

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
        present = jnp.any(batch.completion_mask, axis=-1)
        losses = ranking.plackett_luce(rewards / self.temperature, present, top=self.top)
        return jnp.sum(batch.pair_weights * losses), {"reward": rewards}
