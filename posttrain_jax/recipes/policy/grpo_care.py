"""GRPO-CARE: consistency-aware rewards (Chen et al. 2025, arXiv:2506.16141).

    L = the held recipe's, with rewards   R + coef acc_i [right_i and p_i >= mean of p over the right - margin]
    p_i = min(exp(mean_t log pi_ref(answer token t | all before)), cap),   over the tokens inside the answer's tags

Of right answers those are paid more that the slow reference too would give after the same thought: the thought then
leads to the answer. There is no divergence; the reference follows the policy, `reference.Moving(0.005, every=10)` in
the loop. coef = 0 is the held recipe. Right are accuracies above 0.1 and not below the group's mean: with the group's
means in it, the expected gradient is that of no fixed reward.

Differs from the authors' code: a completion whose answer's tags are not found earns nothing more, where p would be 1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import consistency, marker
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class GRPOCARE:
    """Any online recipe, with a bonus on right answers that follow from their thought."""

    correct: str
    """Name of the reward that is the accuracy (acc)."""
    opening: tuple[int, ...]
    """Ids of the answer's opening tag, which must be tokens of its own."""
    closing: tuple[int, ...]
    """Ids of its closing tag."""
    coef: float = 0.5
    """Weight of the bonus."""
    cap: float = 0.95
    """The largest likelihood that counts (p_max)."""
    margin: float = 0.01
    """How far below the mean of the right ones is sure enough."""
    recipe: types.OnlineRecipe = grpo.GRPO(kl_coef=0.0, eps=1e-4)
    """What learns from the rewards."""

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """The recipe's, of rewards and bonus."""
        if self.correct not in columns:
            raise ValueError(f"GRPOCARE reads {self.correct!r}; the rewards are {', '.join(columns) or 'none'}.")
        groups, accuracies = rollout.groups, columns[self.correct]
        answer = marker.between(groups.completions, groups.completion_mask, self.opening, self.closing)
        ref_logps = lookup.ref(groups, rollout.kept_ids).logps
        sure = consistency.likelihood(ref_logps, answer, cap=self.cap)
        paid = consistency.bonus(sure, accuracies, groups.group_ids, margin=self.margin)
        held = ref_logps if self.recipe.needs_ref else None
        return self.recipe.credit(rollout, rewards + self.coef * paid, held), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The held recipe's."""
        return self.recipe.loss(policy, batch)
