"""Any recipe of pairs or rankings, on the policy's own completions: online DPO, online IPO, SPPO's self-play.

    L = the recipe's loss of the comparisons that `compare` reads off the rewards

Source: Guo et al. 2024 (OAIF), arXiv:2402.04792, for best against worst of two. A judge is a reward. Recipes that read
columns get `scores` and `grades`, the rewards; `win_rates`, the share of its group that a completion beats (SPPO, eq.
4.4 with the group as sample of the policy, arXiv:2405.00675), and `log_odds` likewise; `winners` and `desirable`, 1
above the group's mean reward; `differing`, 1 between where completions begin and end alike. Other columns are of given
texts. Prompts are encoded once for their group, not once a pair. With `pairing.alone` KTO and BCO learn from own
completions; KTO's reference point is then mostly of other completions of the same prompt.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from posttrain_jax import comparison, masked, types
from posttrain_jax.losses import contest, pairing
from posttrain_jax.recipes import asked
from posttrain_jax.recipes.preference import compared, dpo


@dataclasses.dataclass(frozen=True)
class OnlinePreference:
    """A preference recipe that compares the policy's own completions."""

    recipe: types.OfflineRecipe | types.InformedOffline = dpo.DPO()
    """What learns from the comparisons."""
    compare: pairing.Pairing = pairing.best_and_worst
    """Which: `losses.pairing.best_and_worst`, `AllPairs`, `Across` a threshold; `ranked`; `alone` for KTO and BCO."""
    preference: contest.Preference = contest.hard
    """Where the probabilities come from that win rates are means of: rewards, or a judge (`contest.judged`)."""

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def comparisons(self, batch: pairing.ComparedBatch) -> Mapping[str, comparison.Request]:
        """As the recipe's, of every completion once, however many comparisons it is in; nothing of most recipes."""
        return self.recipe.comparisons(batch.inner) if isinstance(self.recipe, comparison.Comparing) else {}

    def init_memory(self) -> PyTree:
        """As the recipe's."""
        return self.recipe.init_memory() if isinstance(self.recipe, types.InformedOffline) else ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Any, lookup: types.Lookup, memory: PyTree
    ) -> tuple[pairing.ComparedBatch, PyTree]:
        """The recipe's credit of the comparisons; those that do not count are empty."""
        groups, (members, counted) = rollout.groups, self.compare(rewards)
        used = ~jnp.isnan(compared.pick(rewards, members)) & counted.reshape(-1, 1)
        given = compared.rows(groups, members, used)
        if isinstance(self.recipe, types.InformedOffline):
            wins = self.preference(rewards, columns)
            known = {"scores": rewards, "win_rates": contest.shares(wins), "log_odds": contest.mean_log_odds(wins)}
            known |= {"grades": rewards, "winners": pairing.above_mean(rewards)}
            read = {name: compared.pick(x, members) for name, x in known.items()}
            read |= {"desirable": read["winners"][:, 0]}
            read |= {"differing": pairing.differing(given.completions, given.completion_lengths)}
            kept_ids = None if rollout.kept_ids is None else compared.pick(rollout.kept_ids, members)
            inner, memory = self.recipe.credit(given, read, asked.under(lookup, given, kept_ids), memory)
        else:
            ref_logps = lookup.ref(groups, rollout.kept_ids).logps if self.needs_ref else None
            inner = self.recipe.credit(given, None if ref_logps is None else compared.pick(ref_logps, members))
        cut = jax.tree.map(lambda x: x.reshape(*counted.shape, *x.shape[1:]), inner)
        mask = groups.completion_mask & compared.mentioned(members, used, rewards.shape[1])[..., None]
        return pairing.ComparedBatch(mask, members, counted, cut), memory

    def loss(self, policy: types.TokenStats, batch: pairing.ComparedBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's; its metrics are means over the comparisons of a row."""
        inner = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch.inner)
        loss, metrics = self.recipe.loss(jax.tree.map(lambda x: compared.pick(x, batch.members), policy), inner)
        by_pair = {name: x.reshape(*batch.counted.shape) for name, x in metrics.items() if x.ndim == 1}
        return loss, {name: masked.mean(x, batch.counted, axis=1) for name, x in by_pair.items()}
