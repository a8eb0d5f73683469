"""The unlikeliness reward (He et al. 2025, arXiv:2506.02355).

    L = (1 / sum_i n_i) sum_i sum_t [ -min(r A, clip(r, 1 - eps, 1 + eps) A) + kl_coef (e^d - d - 1) ]
    A_i = (R'_i - mean(R')) / std(R') within the group,   R'_i = R_i (1 - rank_coef a_i / G)

a_i counts the completions of the group that the sampler found less likely than i. GRPO makes likely right answers
likelier and the rare ones rarer, which costs pass@k; here rare right answers count more. Groups of equal rewards leave
all denominators, and are found before rewards are changed: otherwise the order alone would teach. The rewards depend
on the policy, so the expected gradient is not that of a fixed reward.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, shaping, weight
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class Unlikeliness:
    """GRPO by tokens, with rewards that favour what the policy seldom says."""

    rank_coef: float = 0.25
    """How much of its reward the likeliest completion loses (beta_rank)."""
    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.1)
    """Gives advantages and loss."""

    def __post_init__(self):
        if not 0 <= self.rank_coef <= 1:
            raise ValueError(
                f"rank_coef={self.rank_coef} turns rewards of likely completions negative: choose it in [0, 1]."
            )

    @property
    def needs_ref(self) -> bool:
        """As GRPO does."""
        return self.recipe.needs_ref

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """GRPO's of the changed rewards, every token weighing the same; groups of equal rewards do not count."""
        groups = rollout.groups
        scores = masked.mean(rollout.sampler.logps, groups.completion_mask, axis=-1)
        shaped = shaping.unlikely(rewards, scores, groups.group_ids, coef=self.rank_coef)
        shaped = jnp.where(advantage.mixed(rewards, groups.group_ids)[:, None], shaped, jnp.nan)
        batch = self.recipe.credit(rollout, shaped, ref_logps)
        weights = weight.token_mean(groups.completion_mask & ~jnp.isnan(shaped)[:, :, None])
        return dataclasses.replace(batch, token_weights=weights)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        return self.recipe.loss(policy, batch)
