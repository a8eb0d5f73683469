"""MaxMin-RLHF: the reward of the worst-off group of people, or of the worst objective (Chakraborty et al. 2024,
arXiv:2402.08925, algorithm 2).

    max_pi min_u E_pi[r_u]:   L = the recipe's, of one reward made of the r_u by a rule

`WorstOfBatch` is the paper's: each step learns from the reward whose mean is lowest. `WorstOfEach` is the authors'
code: the lowest reward of every completion, a lower bound. `Weighted` moves weights on the simplex instead of jumping,
and remembers them. With one reward, or equal ones, all are the recipe itself. Of `WorstOfEach` the expected gradient
is the recipe's; means of a batch that choose the reward bend it.

Differs from the paper: any recipe takes PPO's place, and a divergence is the recipe's own.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import limit, maxmin
from posttrain_jax.recipes.policy import grpo

SHARES = "maxmin/"
"""Begins the names of what the batch carries for the report."""


@dataclasses.dataclass(frozen=True)
class MaxMin:
    """Any online recipe, on the worst of several rewards."""

    objectives: tuple[str, ...]
    """Names of the rewards (u)."""
    rule: maxmin.Rule = maxmin.WorstOfBatch()
    """`maxmin.WorstOfBatch()`, `WorstOfEach()` or `Weighted(rate)`."""
    recipe: types.OnlineRecipe = grpo.GRPO()
    """What learns from it."""

    def __post_init__(self):
        if not self.objectives:
            raise ValueError("objectives are empty: name the rewards of which the worst counts.")

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> Float[Array, "U"]:
        """Equal weights, as logarithms."""
        return jnp.full(len(self.objectives), -jnp.log(jnp.float32(len(self.objectives))))

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Float[Array, "U"]]:
        """The recipe's, of the reward that the rule makes; completions without all rewards do not count."""
        one, memory = self.rule(limit.gather(columns, self.objectives), memory)
        one = jnp.where(jnp.isnan(rewards), jnp.nan, one)
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if self.needs_ref else None
        batch = self.recipe.credit(rollout, one, ref_logps)
        shares = zip(self.objectives, jnp.exp(memory), strict=True)
        extra = {f"{SHARES}weight/{name}": jnp.full(one.shape[0], share) for name, share in shares}
        return dataclasses.replace(batch, extra={**batch.extra, **extra}), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        shown = {name.removeprefix(SHARES): x for name, x in batch.extra.items() if name.startswith(SHARES)}
        extra = {name: x for name, x in batch.extra.items() if not name.startswith(SHARES)}
        loss, metrics = self.recipe.loss(policy, dataclasses.replace(batch, extra=extra))
        return loss, {**metrics, **shown}
