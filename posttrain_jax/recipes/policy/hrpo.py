"""Hierarchical relative policy optimization (MasHost 2025, arXiv:2506.08507).

    L = the held recipe's, with   A of an action = z(R) over the completions + step_coef z(r_k) over all actions
    z(x) = (x - mean(x)) / (std(x) + eps) within the group

The completion's reward says whether the whole went well, the rewards of its actions which of them were legal or useful.
step_coef = 0, or actions that all earn the same, is the held recipe with GRPO's advantages. The spread bends the
expected gradient as GRPO's does, and an action is not credited with what its successors earn.

Reconstructed from the abstract: the paper's equation was not seen, nor was code. What its policy over graphs draws
(nodes and edges) are segments here: tokens, as anything else.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, segment
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class HRPO:
    """GRPO's advantages, and those of single actions by their own rewards."""

    step_coef: float = 1.0
    """Weight of the rewards of actions (lambda; 1 is ours)."""
    compare: segment.Compare = segment.zscore
    """How actions of a group are compared: `segment.zscore`, `segment.centered`."""
    recipe: types.OnlineRecipe = grpo.GRPO(kl_coef=0.0)
    """Gives token weights and loss."""

    def __post_init__(self):
        if not self.step_coef >= 0:
            raise ValueError(f"step_coef={self.step_coef} punishes actions that earn: choose 0 or more.")

    @property
    def needs_ref(self) -> bool:
        """As the held recipe does."""
        return self.recipe.needs_ref

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages of actions; completions whose reward is NaN do not count, nor actions that have none."""
        segments, groups = segment.required(rollout, "HRPO"), rollout.groups
        scored = ~jnp.isnan(rewards)
        there = segment.present(segments.ids, groups.completion_mask, segments.rewards.shape[-1])
        paid = there & scored[:, :, None] & ~jnp.isnan(segments.rewards)
        owners = segment.classes(segment.by_group(groups.group_ids, there))
        steps = segment.on_tokens(self.compare(segments.rewards, paid, owners), segments.ids)
        whole = advantage.group_zscore(rewards, groups.group_ids)
        counted = groups.completion_mask & scored[:, :, None]
        advantages = advantage.per_token(whole, counted) + self.step_coef * jnp.where(counted, steps, 0)
        return dataclasses.replace(self.recipe.credit(rollout, rewards, ref_logps), advantages=advantages)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The held recipe's."""
        return self.recipe.loss(policy, batch)
