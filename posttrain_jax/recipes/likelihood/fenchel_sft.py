"""SFT on scored completions, weighted by the optimum of reward less a divergence (the sequence form of dual RL:
Sikchi et al. 2023, arXiv:2302.08560; derived here from its objective with one step).

    L = -(1/N) sum_i w_i sum_t log pi(y_it),   w = (f')^-1((r - V) / c),   V such that the w of a prompt average 1

The weights are those of the best policy under D_f from whatever sampled the completions. `ReverseKL` gives the softmax
of rewards (reward-weighted regression, AWR); `ChiSquared` leaves out what scores too low. c -> infinity is SFT.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import fenchel, generator, weight
from posttrain_jax.recipes.preference import column


@dataclasses.dataclass(frozen=True)
class FenchelSFT:
    """Likelihood of the completions of a prompt, the better scored more; reads the column `scores`."""

    coef: float
    """Weight of the divergence (c), in score per nat: small takes the best completion alone."""
    divergence: generator.Generator = generator.ReverseKL()
    """D_f, from the distribution that the completions are from."""

    def __post_init__(self):
        if not self.coef > 0:
            raise ValueError(f"coef={self.coef}: completions are weighed by a positive one only.")

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: tuple[()]
    ) -> tuple[types.PolicyBatch, tuple[()]]:
        """Weights within rows; a completion without tokens, or with a score that is NaN, is left out."""
        scores = column.per_completion(self, columns, "scores", groups)
        counted = jnp.any(groups.completion_mask, axis=-1) & ~jnp.isnan(scores)
        share = jnp.log(1 / jnp.maximum(jnp.sum(counted, axis=1, keepdims=True), 1).astype(jnp.float32))
        held = jnp.where(counted, scores, jnp.min(jnp.where(counted, scores, jnp.inf), axis=1, keepdims=True))
        held = jnp.where(jnp.isfinite(held), held, 0)
        weights, _ = fenchel.weights(self.divergence, held, jnp.where(counted, share, -jnp.inf), self.coef)
        tokens = groups.completion_mask & counted[:, :, None]
        advantages = jnp.where(tokens, weights[:, :, None], 0)
        return types.PolicyBatch(groups.completion_mask, advantages, weight.sequence_sum(tokens)), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        losses = -batch.advantages * policy.logps
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy, "weight": batch.advantages[:, :, 0]}
