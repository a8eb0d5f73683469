"""OTC: optimal tool calls (Wang et al. 2025, arXiv:2504.14870, eq. 5 to 7; OTC-GRPO with the global minimum).

    L = the held recipe's, with rewards   R' = alpha R r_tool
    r_tool = sin(pi m / (m + n)), and cos(pi m / (2 m + c)) where n = 0

m counts the tool calls of a completion, n the fewest with which its prompt was ever answered rightly: remembered by the
prompt's id from visit to visit. R is 0 for wrong answers, which therefore earn nothing whatever they call: added to R
instead, the term is reported to be earned by calling nothing and being wrong. r_tool = 1 is the held recipe. A prompt
that was never answered rightly keeps its rewards.

The calls are a column: a reward of weight 0 that counts them. While n stays, the expected gradient is the held recipe's
on R'; n moves, and by what the group itself does.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import tool_use
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class OTC:
    """Any online recipe, right answers earning most with the fewest tool calls that suffice."""

    prompts: int
    """How many the data have: their ids run from 0 to this less 1."""
    limit: float
    """The most calls that a completion can make (c): 4 for search and 3 for code in the paper."""
    calls: str = "calls"
    """Name of the reward that counts tool calls (m)."""
    scale: float = 1.0
    """Of the rewards (alpha)."""
    above: float = 0.0
    """Completions with a reward above this are correct."""
    recipe: types.OnlineRecipe = grpo.GRPO()
    """What learns from the rewards."""

    def __post_init__(self):
        if not (self.prompts > 0 and self.limit > 0):
            raise ValueError(f"prompts={self.prompts} and limit={self.limit} must be above 0.")

    @property
    def needs_ref(self) -> bool:
        """As the held recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> Float[Array, "Q"]:
        """No prompt was answered."""
        return jnp.full(self.prompts, jnp.inf, jnp.float32)

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        columns: Mapping,
        lookup: types.Lookup,
        memory: Float[Array, "Q"],
    ) -> tuple[types.PolicyBatch, Float[Array, "Q"]]:
        """The recipe's, of rewards by thrift; completions whose reward or calls are NaN do not count."""
        if self.calls not in columns:
            raise ValueError(
                f"OTC reads the calls from {self.calls!r}; the rewards are {', '.join(columns) or 'none'}."
            )
        calls, correct = columns[self.calls], rewards > self.above
        found, memory = tool_use.fewest(calls, correct, rollout.groups.group_ids, memory)
        earned = self.scale * rewards * tool_use.nearness(calls, found, limit=self.limit)
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if self.needs_ref else None
        return self.recipe.credit(rollout, earned, ref_logps), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The held recipe's."""
        return self.recipe.loss(policy, batch)
