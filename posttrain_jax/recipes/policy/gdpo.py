"""Group reward-decoupled policy optimization (Liu et al. 2026, arXiv:2601.05242).

    L = GRPO's with   A_i = z_batch(sum_k w_k z_group(R_ik))
    z_group(R) = (R - mean(R)) / (std(R) + eps) within the group, z_batch the same over the batch

Each of K rewards is standardised before they are added. GRPO standardises their sum, so different mixtures of rewards
get equal advantages, and a reward of small spread is not heard. Dividing by spreads bends the expected gradient away
from that of the weighted sum of the rewards.

Differs from the paper: the clip ranges and the absence of a divergence are ours; eps is TRL's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class GDPO:
    """GRPO on several rewards, each standardised by itself."""

    weights: tuple[tuple[str, float], ...]
    """Names of the rewards and what they weigh (w_k): `(("correct", 1.0), ("format", 0.5))`."""
    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.0)
    """Gives token weights and loss."""
    eps: float = 1e-4
    """Added to every standard deviation."""

    @property
    def needs_ref(self) -> bool:
        """As GRPO does."""
        return self.recipe.needs_ref

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """Advantages of the standardised sum; a reward that is NaN adds 0, completions without any do not count."""
        names, weights = zip(*self.weights, strict=True)
        if missing := set(names) - set(columns):
            raise ValueError(
                f"GDPO is to weigh {', '.join(sorted(missing))}; the rewards are {', '.join(columns) or 'none'}."
            )
        each = jnp.stack([columns[name] for name in names], axis=-1)
        any_reward = jnp.where(jnp.all(jnp.isnan(each), axis=-1), jnp.nan, 0)
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if self.needs_ref else None
        batch = self.recipe.credit(rollout, any_reward, ref_logps)
        scores = advantage.sum_of_zscores(each, rollout.groups.group_ids, weights=weights, eps=self.eps)
        return dataclasses.replace(batch, advantages=advantage.per_token(scores, batch.token_weights > 0)), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """GRPO's."""
        return self.recipe.loss(policy, batch)
