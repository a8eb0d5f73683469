"""Direct Nash optimization in practice (DNO-Prct; Rosset et al. 2024, arXiv:2404.03715, algorithm 2 and section 5.1).

    L = the recipe's (DPO, the reference being the policy of the iteration before) on the pairs that `keep` leaves

A group holds the policy's completions and a better model's, `player.Players(opponent={"teacher": 1})`; the reward is a
grade from 1 to 6. Move the reference each iteration: `reference.Moving(1.0, every=...)`.

Differs from the paper: pairs of earlier iterations are not mixed in, and repeated n-grams are a reward's business.
"""

import dataclasses
import functools
from collections.abc import Mapping

from jaxtyping import Array, Float, PyTree

from posttrain_jax import types
from posttrain_jax.losses import contest, pairing
from posttrain_jax.recipes.preference import dpo, online_preference


@dataclasses.dataclass(frozen=True)
class DNOPrct:
    """Pairs of clearly different grades among own completions and a teacher's."""

    recipe: types.OfflineRecipe | types.InformedOffline = dpo.DPO(beta=0.1)
    """What learns from the pairs (beta is the paper's eta, 0.1 or 0.05)."""
    keep: pairing.GradeGap = pairing.GradeGap()
    """Which pairs count."""

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    @property
    def plays(self) -> bool:
        """The teacher's completions stand beside the policy's."""
        return True

    @property
    def off_policy(self) -> bool:
        """Pairs may be of anyone."""
        return True

    def init_memory(self) -> PyTree:
        """As the recipe's."""
        return online_preference.OnlinePreference(self.recipe).init_memory()

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        columns: Mapping[str, Array],
        lookup: types.Lookup,
        memory: PyTree,
    ) -> tuple[pairing.ComparedBatch, PyTree]:
        """The recipe's credit of the pairs kept."""
        compare = functools.partial(self.keep, given=contest.opponents(rollout, columns))
        inner = online_preference.OnlinePreference(self.recipe, compare)
        return inner.credit(rollout, rewards, columns, lookup, memory)

    def loss(self, policy: types.TokenStats, batch: pairing.ComparedBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return online_preference.OnlinePreference(self.recipe).loss(policy, batch)
