"""Group-relative REINFORCE on balanced groups, RED-Drop (Yao et al. 2025, arXiv:2509.24203).

    L = -(1 / sum_i n_i) sum_i sum_t A_i log pi(y_it),   A_i = R_i - mean over the kept of R, 0 if dropped

Completions below the mean of their group are bad. Where more are bad than good, as many bad ones as there are too many
are dropped at random, and the mean is taken over what is kept. Bad completions of an older policy are the more
dangerous ones to learn from. What is dropped stays in the denominator, as in the authors' code. On policy, dropping
bends the expected gradient in groups with few good completions.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import advantage, group, selection, surrogate, weight


@dataclasses.dataclass(frozen=True)
class REDDrop:
    """REINFORCE with centred rewards, bad completions thinned until they are no more than the good ones."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """Advantages within what is kept of a group; completions whose reward is NaN do not count."""
        groups, ids = rollout.groups, rollout.groups.group_ids
        counted = groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        bad = advantage.group_centered(rewards, ids) < 0
        good = ~bad & ~jnp.isnan(rewards)
        excess = group.total(bad.astype(rewards.dtype), ids) - group.total(good.astype(rewards.dtype), ids)
        dropped = bad & (group.rank(selection.luck(groups, lookup.key)[:, :, 0], bad, ids) < excess[:, None])
        advantages = advantage.group_centered(jnp.where(dropped, jnp.nan, rewards), ids)
        batch = types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantages, counted),
            token_weights=weight.token_mean(counted),
            extra={"dropped": dropped.astype(rewards.dtype)},
        )
        return batch, memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above; whose completions they are does not matter."""
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy, **batch.extra}
