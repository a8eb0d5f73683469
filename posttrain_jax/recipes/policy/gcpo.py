"""GCPO: group contrastive policy optimization (GeometryZero, Wang et al. 2025, arXiv:2506.07160).

    L = the held recipe's, with rewards   R' = R + coef M aux
    M = 1 where accuracy(with) > accuracy(without) + margin, -1 where it is the other way round, else 0

aux is 1 where a completion shows a behaviour (an auxiliary construction). It is rewarded on prompts on which it helps
and punished where it harms. By default the completions that show it are compared with those that do not; with rows
that were asked for it beside rows that were not, under one group id, `asked` names the column that tells them. Where
one side is empty M = 0. A margin of 1 is the held recipe, M = 1 everywhere a plain bonus. As M is told by the group
itself, the expected gradient is that of no fixed reward.

The sides and the three cases are those of two descriptions of the paper; its inequalities and numbers were not seen,
margin and coef are ours. Another method is called GCPO too (a gold answer in a group of failures).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import group
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class GCPO:
    """Any online recipe, a behaviour being rewarded where it helps."""

    aux: str
    """Name of the reward that is 1 where a completion shows the behaviour (R_aux), of weight 0."""
    correct: str
    """Name of the reward whose means are compared (accuracy)."""
    asked: str | None = None
    """Name of the reward that is 1 where the prompt asked for the behaviour; None compares those that show it."""
    coef: float = 0.5
    """Weight of the behaviour (w_a)."""
    margin: float = 0.05
    """How far apart the means must lie (epsilon)."""
    recipe: types.OnlineRecipe = grpo.GRPO()
    """What learns from the rewards."""

    @property
    def needs_ref(self) -> bool:
        """As the held recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """The recipe's, of the changed rewards."""
        side = self.aux if self.asked is None else self.asked
        if missing := {self.aux, self.correct, side} - set(columns):
            raise ValueError(
                f"GCPO reads {', '.join(sorted(missing))}; the rewards are {', '.join(columns) or 'none'}."
            )
        sign = group.contrast(columns[self.correct], columns[side], rollout.groups.group_ids, margin=self.margin)
        earned = rewards + self.coef * sign[:, None] * jnp.nan_to_num(columns[self.aux])
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if self.needs_ref else None
        return self.recipe.credit(rollout, earned, ref_logps), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The held recipe's."""
        return self.recipe.loss(policy, batch)
