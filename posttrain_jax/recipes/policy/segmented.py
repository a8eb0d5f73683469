"""Completions cut into segments by tokens, for recipes that credit turns, steps or ranks (process rewards by step as in
Shao et al. 2024, arXiv:2402.03300, section 4.1.3).

    L = the held recipe's, on a rollout whose segments end with the tokens `ends`

So lists are credited by line and arguments by paragraph in the loop of single completions, no environment of turns
being there. The state of a segment is all that stands before it: completions share states as long as they are equal.
The expected gradient is the held recipe's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import segment


@dataclasses.dataclass(frozen=True)
class Segmented:
    """Any online recipe that credits segments, on completions that tokens cut."""

    recipe: types.OnlineRecipe
    """What credits the segments: `GiGPO`, `HRPO`, `RankGRPO`, `SALT`."""
    ends: tuple[int, ...]
    """Ids of the tokens that end a segment, one as often as it ends one: `tokenizer.ending("\\n")`."""
    count: int
    """Segments at most (S); what lies behind is in none that has a reward."""
    rewards: tuple[str, ...] = ()
    """Names of the rewards of the first, the second, ... segment, or of all at once (a judge's `judge_steps`); without
    any, all earn 0."""

    def __post_init__(self):
        if self.count < 1 or not self.ends:
            raise ValueError(
                f"count={self.count} segments need at least one id that ends them (there are {len(self.ends)})."
            )

    @property
    def needs_ref(self) -> bool:
        """As the held recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[Any, Any]:
        """The held recipe's, of the segments."""
        if missing := set(self.rewards) - set(columns):
            raise ValueError(
                f"Segmented reads {', '.join(sorted(missing))}; the rewards are {', '.join(columns) or 'none'}."
            )
        words, mask = rollout.groups.completions, rollout.groups.completion_mask
        ids = segment.ending(words, mask, self.ends)
        there = segment.present(ids, mask, self.count)
        each = [columns[name].reshape(*rewards.shape, -1) for name in self.rewards]
        earned = jnp.concatenate(each or [jnp.zeros(there.shape)], axis=-1)
        if earned.shape != there.shape:
            raise ValueError(
                f"Segmented has count={self.count} segments and rewards of {earned.shape[-1]}: make equal."
            )
        earned = jnp.where(there, earned, jnp.nan)
        segments = types.Segments(ids=ids, rewards=earned, states=segment.prefix(words, ids, mask, self.count))
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if self.needs_ref else None
        return self.recipe.credit(dataclasses.replace(rollout, segments=segments), rewards, ref_logps), memory

    def loss(self, policy: types.TokenStats, batch: Any) -> tuple[Float[Array, ""], types.Metrics]:
        """The held recipe's."""
        return self.recipe.loss(policy, batch)
