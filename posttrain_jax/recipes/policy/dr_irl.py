"""DR-IRL, whose GRPO-S scales advantages by how hard a prompt is (Cheng et al. 2025, arXiv:2503.18991).

    L = the recipe's, its advantages times alpha_q = alphaD_q alphaM_q, one number a prompt
    alphaD = sigmoid(delta) / sigmoid(mean delta),   delta = 1 - similarity of the answers to the demonstration
    alphaM = sigmoid(mean of the gaps kept) / sigmoid(mean of all gaps),   gap = r(demonstration) - r(answer)

Means are over the prompts of a category of harm. Similarity, gap and category are rewards of weight 0 that the caller
computes (a text encoder; a reward model for each category, learned from demonstrations); a prompt's is the mean of its
answers. Where all prompts are alike it is the recipe itself, and advantages of a group still sum to 0. A scale that
depends on the answers bends the expected gradient.

Differs from the paper: categories are summed up over the batch and not over all demonstrations, alpha is held within
`largest`, and the sign of the gap and its width (tau) are ours: neither is told. Reconstructed from three descriptions.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import group, limit, scaling
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class DRIRL:
    """Any online recipe, whose hard prompts weigh more."""

    width: float
    """Gaps farther from their mean than its root are outliers (tau), in squared reward."""
    similarity: str = "similarity"
    """The reward that holds W."""
    gap: str = "gap"
    """The reward that holds the gap."""
    category: str = "category"
    """The reward that holds the category's number, the same for all answers of a prompt."""
    recipe: types.OnlineRecipe = grpo.GRPO()
    """What learns."""
    largest: float = 4.0
    """alpha is held within 1 / largest and largest."""

    def __post_init__(self):
        if not (self.width >= 0 and self.largest >= 1):
            raise ValueError(f"width={self.width} must be 0 or more, largest={self.largest} 1 or more.")

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """The recipe's, its advantages scaled; prompts without similarity or gap keep theirs."""
        ids = rollout.groups.group_ids
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if self.needs_ref else None
        batch = self.recipe.credit(rollout, rewards, ref_logps)
        each = limit.gather(columns, [self.similarity, self.gap, self.category])
        known = ~jnp.any(jnp.isnan(each), axis=-1)
        counts = group.total(known.astype(rewards.dtype), ids)
        sums = [group.total(jnp.where(known, each[..., k], 0), ids) for k in range(3)]
        similarity, gap, category = (x / jnp.maximum(counts, 1) for x in sums)
        shares = jnp.where(counts > 0, 1 / group.total(jnp.ones_like(rewards[:, :1]), ids), 0)
        kinds = jnp.round(category).astype(int)
        data = scaling.data_hardness(similarity, kinds, shares)
        model = scaling.model_hardness(gap, kinds, shares, width=self.width)
        alpha = jnp.clip(data * model, 1 / self.largest, self.largest)
        return dataclasses.replace(batch, advantages=batch.advantages * alpha[:, None, None]), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return self.recipe.loss(policy, batch)
