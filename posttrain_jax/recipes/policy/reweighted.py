"""Several rewards whose weights change over the run, for any online recipe (textbook; those of TRL and verl stay).

    L = the recipe's, with rewards   R = sum_k w_k(s) R_k,   s the rollouts learned from before

A form is learned early and then no longer paid, a cost of length begins when answers are right: the switch that Kimi
k1.5 (arXiv:2501.12599) makes once, and what `Handover` does with two. A reward that does not apply to a
completion (NaN) adds nothing; one to which none applies does not count. As the scale of rewards moves, means of
different steps do not compare: look at the columns. The expected gradient is the recipe's, on today's sum.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import limit, schedule
from posttrain_jax.recipes import nested
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class Reweighted:
    """Any online recipe, on a sum of rewards whose weights are schedules."""

    weights: tuple[tuple[str, float | schedule.Schedule], ...]
    """The rewards' names and weights: `(("right", 1.0), ("form", schedule.Linear(0.5, 0.0, 100)))`."""
    recipe: types.OnlineRecipe | types.InformedOnline = grpo.GRPO()
    """What learns from the sum."""

    def __post_init__(self):
        if not self.weights:
            raise ValueError("Reweighted needs at least one reward and its weight.")

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> tuple[Float[Array, ""], Any]:
        """Steps done, and the recipe's."""
        return jnp.float32(0), nested.init_memory(self.recipe)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[Any, Any]:
        """The recipe's, of today's sum."""
        steps, inner = memory
        each = limit.gather(columns, [name for name, _ in self.weights])
        weights = [weight(steps) if callable(weight) else weight for _, weight in self.weights]
        today = jnp.stack([jnp.asarray(weight, jnp.float32) for weight in weights])
        total = jnp.sum(today[None, None] * jnp.nan_to_num(each), axis=-1)
        known = ~jnp.isnan(rewards) & ~jnp.all(jnp.isnan(each), axis=-1)
        batch, inner = nested.credit(self.recipe, rollout, jnp.where(known, total, jnp.nan), columns, lookup, inner)
        return batch, (steps + 1, inner)

    def loss(self, policy: types.TokenStats, batch: Any) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return self.recipe.loss(policy, batch)
