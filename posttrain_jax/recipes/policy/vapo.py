"""VAPO: PPO for long chains of thought (Yue et al. 2025, arXiv:2504.05118).

    L = PPO's + nll_coef (1 / sum_{i correct} n_i) sum_{i correct} sum_t -log pi(y_it)

PPO with clip ranges 0.2 and 0.28, no divergence from a reference, a trace of 1 - 1 / (alpha n_i) for advantages, so
that it reaches over a fixed share of a completion however long, and of 1 for the critic. Correct completions are
imitated besides: its expected gradient is that of the reward alone only with nll_coef 0, and then as bent as PPO's.
The critic is trained first, the policy held still (`ValuePretraining`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import returns, weight
from posttrain_jax.recipes.policy import ppo

NLL = "nll_weights"
"""Their name in the batch's `extra`."""


@dataclasses.dataclass(frozen=True)
class VAPO:
    """PPO with traces by length, which imitates what was right besides."""

    recipe: ppo.PPO = ppo.PPO(
        clip_high=0.28, kl_coef=0.0, trace=returns.LengthAdaptive(0.05), critic_trace=returns.Constant(1.0)
    )
    """Gives advantages, returns and their losses (lambda_actor, lambda_critic)."""
    nll_coef: float = 0.1
    """Weight of the likelihood of correct completions (mu)."""
    above: float = 0.5
    """Completions with a reward above this are correct."""

    def __post_init__(self):
        if not self.nll_coef >= 0:
            raise ValueError(f"nll_coef={self.nll_coef} unlearns correct completions: choose 0 or more.")

    @property
    def needs_ref(self) -> bool:
        """As PPO does."""
        return self.recipe.needs_ref

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """PPO's, and the weights of correct tokens."""
        batch, memory = self.recipe.credit(rollout, rewards, columns, lookup, memory)
        weights = weight.token_mean(batch.completion_mask & (rewards > self.above)[:, :, None])
        return dataclasses.replace(batch, extra={**batch.extra, NLL: weights}), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        loss, metrics = self.recipe.loss(policy, batch)
        return loss - self.nll_coef * jnp.sum(batch.extra[NLL] * policy.logps), metrics
