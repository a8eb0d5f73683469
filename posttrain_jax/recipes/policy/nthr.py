"""Negative token hidden reward (Deng et al. 2025, arXiv:2505.18830).

    L = the recipe's, with advantages   A'_ik = eta A_i on tokens of wrong completions with s_ik > tau, else A_i
    tau = scale min over correct i of mean_k s_ik,   eta = 2 |1/2 - p|,   p the share of correct completions

s_ik is the influence of token k of completion i on the summed log-likelihood of the group's correct completions
(`influence.of_tokens` with 1 on their tokens). Pushing such a token down would push right answers down with it: it is
punished less, and not at all where half of the completions are right. For your own loop: influences need hidden
states. The paper speaks of the influence on the other correct completions: take `influence.of_own_tokens` off for
that; a single correct one then has tau 0. The expected gradient is that of no fixed reward.
"""

import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import difficulty, influence
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class NTHR:
    """An online recipe that spares the tokens of wrong completions on which right ones depend."""

    recipe: types.OnlineRecipe = grpo.GRPO(kl_coef=1e-4)
    """Gives advantages, weights and loss."""
    scale: float = 1.0
    """Of the threshold (beta; 0 for the paper's distilled 1.5B model)."""
    above: float = 0.5
    """Completions with a reward above this are correct."""

    def __post_init__(self):
        if not math.isfinite(self.scale):
            raise ValueError(f"scale={self.scale} of the threshold must be finite.")

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        ref_logps: Float[Array, "P G T"] | None = None,
        *,
        influences: Float[Array, "P G T"],
    ) -> types.PolicyBatch:
        """The recipe's, milder on wrong tokens of large influence on the group's correct completions."""
        batch, ids = self.recipe.credit(rollout, rewards, ref_logps), rollout.groups.group_ids
        rates = difficulty.success_rate(rewards, ids, above=self.above)
        tau = influence.least_of_correct(influences, rewards > self.above, batch.completion_mask, ids)
        spared = (rewards <= self.above)[:, :, None] & (influences > self.scale * tau[:, None, None])
        eta = 2 * jnp.abs(0.5 - rates)[:, None, None]
        return dataclasses.replace(batch, advantages=batch.advantages * jnp.where(spared, eta, 1))

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return self.recipe.loss(policy, batch)
