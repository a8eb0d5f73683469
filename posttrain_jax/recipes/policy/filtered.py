"""Learning from groups of the right difficulty alone (Bae et al. 2025, online difficulty filtering, arXiv:2504.03380).

    L = the recipe's, over the groups that a rule keeps:   low < share of successes < high

What is filtered out leaves all denominators, as if it had not been sampled; filling the batch up again is for what
draws the prompts. With `difficulty.Spread(0.01)`, GRPO with kl_coef 0.04 and completions of one token it is the policy
optimisation of DMOSpeech 2 (Li et al. 2025, arXiv:2507.14988). The share of successes is that of few completions: a
prompt with success rate 0.25 and 4 completions shows no success in 32 % of its visits. So the expected gradient is the
recipe's under the condition that a rollout was kept, which is that of no fixed reward.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import difficulty
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class Filtered:
    """Any online recipe, on groups that are neither too hard nor too easy."""

    recipe: types.OnlineRecipe = grpo.GRPO()
    """What learns from the groups kept."""
    keep: difficulty.Rule = difficulty.Band()
    """Which are kept (T_low, T_high)."""

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """The recipe's, the rewards of the other groups being NaN."""
        kept = self.keep(rewards, rollout.groups.group_ids)
        return self.recipe.credit(rollout, jnp.where(kept[:, None], rewards, jnp.nan), ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return self.recipe.loss(policy, batch)
