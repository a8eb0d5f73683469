"""Self-play preference optimization, "A Minimaximalist Approach" (SPO; Swamy et al. 2024, arXiv:2401.04056).

    r_i = mean_{j != i} P(y_i > y_j)   over the policy's other completions of the prompt;   then any online recipe

Against itself the policy needs no opponent: no-regret learning of these rewards comes on average to the minimax winner,
also where preferences go round in circles and no reward could tell them. A group's rewards average 1/2. A baseline of
the others' rewards (RLOO) holds each comparison once more: the gradient is G / (G - 1) times that of the win rate.

Differs from the paper: rewards are of completions, where it compares trajectories of control tasks with a queue of
earlier ones. Single-stream, segment and simple policy optimization are other methods called SPO.
"""

import dataclasses
from collections.abc import Mapping

from jaxtyping import Array, Float, PyTree

from posttrain_jax import types
from posttrain_jax.losses import contest
from posttrain_jax.recipes.policy import rloo


@dataclasses.dataclass(frozen=True)
class SPO:
    """Any online recipe, rewarded with the share of its own group that a completion beats."""

    recipe: types.OnlineRecipe = rloo.RLOO(kl_coef=0.0)
    """What learns from the win rates; a divergence from a reference makes the game regularised."""
    preference: contest.Preference = contest.judged
    """Where P comes from."""

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        columns: Mapping[str, Array],
        lookup: types.Lookup,
        memory: PyTree,
    ) -> tuple[types.PolicyBatch, PyTree]:
        """The recipe's, of win rates; completions whose reward is NaN do not count."""
        shares = contest.shares(self.preference(rewards, columns))
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if self.needs_ref else None
        return self.recipe.credit(rollout, shares, ref_logps), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return self.recipe.loss(policy, batch)
