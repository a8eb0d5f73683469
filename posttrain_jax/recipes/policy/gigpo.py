"""GiGPO: group-in-group policy optimization (Feng et al. 2025, arXiv:2505.10978).

    L = the held recipe's, with   A of a turn = A_E + step_coef A_S
    A_E = R - mean(R) over the group, R all that the completion earned
    A_S = R_k - mean(R_k) over all turns of the group that began in the same state,   R_k = r_k + discount R_{k+1}

Turns that meet the same state, in several completions or again in one, are compared with one another: a loop is worse
than leaving it. A state met once has no A_S. step_coef = 0 is the trajectory's advantage alone. The completion's reward
is paid at its last turn. `compare=segment.zscore` divides both by their deviations.

A_E keeps the expected gradient. A_S bends it: turns of one state are few or many, and one completion may hold several.

Differs from the authors' code: the mean of R is over completions, not over turns (where longer completions count more);
completions weigh as the held recipe says.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import segment
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class GiGPO:
    """Turns compared with the turns that began in the same state."""

    step_coef: float = 1.0
    """Weight of the comparison of turns (omega)."""
    discount: float = 0.95
    """Of a reward for each turn that it lies ahead (gamma)."""
    compare: segment.Compare = segment.centered
    """`segment.centered`, or `segment.zscore` (F_norm, the deviation)."""
    recipe: types.OnlineRecipe = grpo.GRPO(kl_coef=0.01)
    """Gives token weights and loss."""

    def __post_init__(self):
        if not (self.step_coef >= 0 and 0 <= self.discount <= 1):
            raise ValueError(f"step_coef={self.step_coef} must not be negative, discount={self.discount} in [0, 1].")

    @property
    def needs_ref(self) -> bool:
        """As the held recipe does."""
        return self.recipe.needs_ref

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages of turns; completions whose reward is NaN do not count."""
        segments, groups = segment.required(rollout, "GiGPO"), rollout.groups
        there = segment.present(segments.ids, groups.completion_mask, segments.rewards.shape[-1])
        counted = there & ~jnp.isnan(rewards)[:, :, None]
        owners = segment.by_group(groups.group_ids, there)
        pay = segment.paid(segments, rewards, there)
        anchors = segment.classes(owners, segment.by_state(segments.states))
        steps = self.compare(segment.to_go(pay, there, discount=self.discount), counted, anchors)
        one = slice(0, 1)
        whole = self.compare(jnp.sum(pay, -1, keepdims=True), counted[..., one], segment.classes(owners[..., one]))
        batch = self.recipe.credit(rollout, rewards, ref_logps)
        return dataclasses.replace(
            batch, advantages=segment.on_tokens(jnp.where(counted, whole + self.step_coef * steps, 0), segments.ids)
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The held recipe's."""
        return self.recipe.loss(policy, batch)
