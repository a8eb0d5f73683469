"""Group reward-decoupled policy optimization (Liu et al. 2026, arXiv:2601.05242).

    L = GRPO's with   A_i = z_batch(sum_k w_k z_group(R_ik))
    z_group(R) = (R - mean(R)) / (std(R) + eps) within the group, z_batch the same over the batch

Each of K rewards is standardised before they are added. GRPO standardises their sum, so different mixtures of rewards
get equal advantages, and a reward of small spread is not heard. For your own loop: rewards are [P, G, K]. Dividing by
spreads bends the expected gradient away from that of the weighted sum of the rewards.

Differs from the paper: the clip ranges and the absence of a divergence are ours; eps is TRL's.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class GDPO:
    """GRPO on several rewards, each standardised by itself."""

    weights: tuple[float, ...]
    """Of the rewards, in their order (w_k)."""
    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.0)
    """Gives token weights and loss."""
    eps: float = 1e-4
    """Added to every standard deviation."""

    @property
    def needs_ref(self) -> bool:
        """As GRPO does."""
        return self.recipe.needs_ref

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G K"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Advantages of the standardised sum; a reward that is NaN adds 0, completions without any do not count."""
        if rewards.shape[-1] != len(self.weights):
            raise ValueError(f"GDPO has weights for {len(self.weights)} rewards and is given {rewards.shape[-1]}.")
        any_reward = jnp.where(jnp.all(jnp.isnan(rewards), axis=-1), jnp.nan, 0)
        batch = self.recipe.credit(rollout, any_reward, ref_logps)
        scores = advantage.sum_of_zscores(rewards, rollout.groups.group_ids, weights=self.weights, eps=self.eps)
        return dataclasses.replace(batch, advantages=advantage.per_token(scores, batch.token_weights > 0))

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """GRPO's."""
        return self.recipe.loss(policy, batch)
