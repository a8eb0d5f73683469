"""Adaptive entropy control (He et al. 2025, Skywork-OR1, arXiv:2505.22312).

    L = the recipe's - c sum_it w_it H_it where the entropy is at most the target, the recipe's elsewhere
    c rises by a step after a rollout below the target, and falls by one after others

H is the mean entropy of the tokens just sampled, w_it the recipe's own token weights. The coefficient is remembered.
With `controller.Dual` it moves as the temperature of SAC does (arXiv:1812.05905). A bonus bends the expected gradient
of any recipe towards entropy: the sampled -H_it has the gradient of entropy at the prefixes visited, held still.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import controller
from posttrain_jax.recipes import nested

COEF = "entropy_coef"
"""Its name in the batch's `extra`."""


@dataclasses.dataclass(frozen=True)
class AdaptiveEntropy:
    """Any online recipe, with an entropy bonus that holds entropy up."""

    recipe: types.OnlineRecipe | types.InformedOnline
    """What it is added to."""
    target: float
    """Entropy in nats a token; above it there is no bonus."""
    start: float = 0.0
    """The first coefficient."""
    control: controller.Stepwise | controller.Dual | None = None
    """How it moves; None for `controller.Stepwise(target)`, the paper's."""

    def __post_init__(self):
        if not (self.target > 0 and self.start >= 0):
            raise ValueError(f"target={self.target} must be above 0, start={self.start} 0 or more.")
        if self.start == 0 and isinstance(self.control, controller.Dual):
            raise ValueError("start=0 stays 0 under controller.Dual, which multiplies it: choose it above 0.")

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> tuple[Array, Any]:
        """The coefficient, and what the recipe remembers."""
        return jnp.float32(self.start), nested.init_memory(self.recipe)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """The recipe's, and the next coefficient."""
        coef, inner = memory
        batch, inner = nested.credit(self.recipe, rollout, rewards, columns, lookup, inner)
        mask = rollout.groups.completion_mask
        entropy = masked.mean(rollout.sampler.entropy, mask)
        bonus = jnp.broadcast_to(jnp.where(entropy <= self.target, coef, 0), rewards.shape[:1])
        control = controller.Stepwise(self.target) if self.control is None else self.control
        moved = jnp.where(jnp.any(mask), control(coef, entropy), coef)
        return dataclasses.replace(batch, extra={**batch.extra, COEF: bonus}), (moved, inner)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        loss, metrics = self.recipe.loss(policy, batch)
        bonus = batch.extra[COEF][:, None, None] * policy.entropy
        return loss - jnp.sum(batch.token_weights * bonus), metrics | {COEF: batch.extra[COEF]}
