"""DRO: direct reasoning optimization, with the reasoning reflection reward R3 (Xu et al. 2025, arXiv:2506.13351).

    L = the held recipe's, with rewards   R + R3 + length_coef r_len
    R3_i = sum_j w_j log pi(y_j | q, thought_i, y_<j),   w_j = sigma_j / sum sigma
    sigma_j = standard deviation of log pi(y_j | ...) over the thoughts of the group

No verifier is needed: a thought is good where it makes the given answer y likely, on the tokens of y that thoughts make
a difference to. Completions are cut where their thought ends, and y is put behind; one pass more for each. y is the
column `answer` of the data (`prompts.attach`, `column.prompt`). r_len = 1 - slope | |y| - |own answer| | / |y|.
Rewards depend on group and model and have no gradient: the expected gradient is that of no fixed reward.

The paper subtracts what y has behind a masked thought: the same for all of a group, it cancels in advantages and is
left out (`reflection.certainty` takes it). It leaves w open; this one is ours, and so is the default of `slope`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import marker, reflection
from posttrain_jax.recipes import asked
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class DRO:
    """Any online recipe, rewarded by how likely the policy's thoughts make a given answer."""

    closing: tuple[int, ...]
    """Ids of what ends a thought; where a completion has none, all of it is thought."""
    lead: tuple[int, ...] = ()
    """Ids of what else the policy writes before an answer, behind `closing`."""
    length_coef: float = 0.0
    """Weight of r_len (lambda)."""
    slope: float = 0.5
    """What an answer of another length loses (b)."""
    role: str = "policy"
    """Who says how likely the answer is: "policy", "ref", or a fixed model of the loop."""
    answer: str = "answer"
    """Name of the column."""
    recipe: types.OnlineRecipe = grpo.GRPO(kl_coef=1e-3)
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
        """The recipe's, of the changed rewards; completions whose reward is NaN do not count."""
        if self.answer not in columns:
            raise ValueError(f"DRO reads the column {self.answer!r} of the data: give it with `prompts.attach`.")
        groups, given = rollout.groups, columns[self.answer].astype(jnp.int32)
        lengths = groups.completion_lengths
        cuts = marker.first(groups.completions, groups.completion_mask, lengths, self.closing)
        with_answer = reflection.answered(groups, cuts, (*self.closing, *self.lead), given)
        says = asked.model(self, lookup, self.role)(with_answer).logps
        logps = reflection.of_answer(says, with_answer.completion_mask, given.shape[-1])
        shares = reflection.weights(reflection.spread(logps, ~jnp.isnan(rewards), groups.group_ids))
        own = jnp.maximum(lengths - cuts - len(self.closing) - len(self.lead), 0)
        alike = reflection.same_length(own, jnp.sum(given >= 0, axis=-1), slope=self.slope)
        earned = rewards + reflection.certainty(logps, shares) + self.length_coef * alike
        ref_logps = lookup.ref(groups, rollout.kept_ids).logps if self.needs_ref else None
        return self.recipe.credit(rollout, earned, ref_logps), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The held recipe's."""
        return self.recipe.loss(policy, batch)
