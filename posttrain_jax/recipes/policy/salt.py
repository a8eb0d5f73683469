"""SALT: step-level advantages by a graph of trajectories (Li et al. 2025, arXiv:2510.20022).

    L = the held recipe's, with   A of a turn = mean of the recipe's advantages over all turns of the group that are
    the same step: from the same state, with the same action, to the same state

What good and bad completions did alike is neither praised nor blamed; where they part, each keeps its own. The sum of
all advantages stays. With nothing shared it is the held recipe. The same step behind the same words has one gradient,
so averaging leaves that of REINFORCE as it is; behind other words it bends the expected gradient.

Two actions are the same where their tokens are. Reconstructed from two descriptions of the paper that agree; its own
equations were not seen, and it may compare a window of history instead. A step that comes twice in one completion
counts twice.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import segment
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class SALT:
    """Any online recipe, the advantages of steps that completions share being averaged."""

    recipe: types.OnlineRecipe = grpo.GRPO(kl_coef=0.0)
    """Gives the advantages, token weights and loss."""

    @property
    def needs_ref(self) -> bool:
        """As the held recipe does."""
        return self.recipe.needs_ref

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """The recipe's advantages, averaged over equal steps; completions whose reward is NaN do not count."""
        segments, groups = segment.required(rollout, "SALT"), rollout.groups
        ids, mask, count = segments.ids, groups.completion_mask, segments.rewards.shape[-1]
        batch = self.recipe.credit(rollout, rewards, ref_logps)
        there = segment.present(ids, mask, count)
        actions = segment.fingerprint(groups.completions, ids, mask, count)
        steps = segment.classes(
            segment.by_group(groups.group_ids, there),
            segment.by_state(segments.states),
            actions,
            segment.following(segment.by_state(segments.states), there),
        )
        counted = there & ~jnp.isnan(rewards)[:, :, None]
        shared = segment.average(segment.mean(batch.advantages, ids, mask, count), counted, steps)
        inside = mask & (ids >= 0) & (ids < count)
        advantages = jnp.where(inside, segment.on_tokens(shared, ids), batch.advantages)
        return dataclasses.replace(batch, advantages=advantages)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The held recipe's."""
        return self.recipe.loss(policy, batch)
