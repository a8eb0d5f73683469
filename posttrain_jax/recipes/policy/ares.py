"""ARES, or AEPO: effort by difficulty (Chen et al. 2025, arXiv:2510.08457), as in the authors' code.

    L = the held recipe's with rewards R + worth(n, n*), + kl_coef sum w beta_d (e^x - x - 1),   x = log pi_ref / pi
    n = windows of high entropy in the completion, n* the mean over its bucket of prompts: easy, medium, hard

Easy prompts should be answered without wavering, hard ones explored (`losses.effort` has the numbers). What is high
is remembered: tau follows the median of the completions' 95th percentiles. Each bucket's strength alpha and its weight
beta of the divergence, which follows its distance from `aim`, are remembered too. Wrong answers to easy prompts that
wavered are held less (0.67). No strength and beta 1 are the held recipe with a fixed divergence; else the expected
gradient is that of no fixed reward. Every token may begin a window (the code asks for words such as "since"). n* is
today's mean, so alpha hardly moves.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import difficulty, divergence, effort
from posttrain_jax.recipes.policy import grpo, kl_weighted


@dataclasses.dataclass(frozen=True)
class ARES:
    """GRPO on accuracy and effort, held to the reference by difficulty."""

    width: int = 4
    """Tokens of a window (W)."""
    kl_coef: float = 0.01
    """Weight of the divergence, times the bucket's beta."""
    aim: float = 0.01
    """The divergence that beta is moved towards, in nats a token."""
    above: float = 0.5
    """Completions with a reward above this are correct."""
    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.0)
    """Gives advantages and the rest of the loss."""

    def __post_init__(self):
        kl_weighted.check(self.recipe)
        if self.width < 1:
            raise ValueError(f"width={self.width} is no window: take at least 1 token.")

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> effort.Memory:
        """Nothing was seen."""
        return effort.none()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, effort.Memory]:
        """GRPO's of the changed rewards, and weights of the divergence; NaN rewards do not count."""
        groups, correct, scored = rollout.groups, rewards > self.above, ~jnp.isnan(rewards)
        counted = groups.completion_mask & scored[:, :, None]
        windows = effort.ahead(rollout.sampler.entropy, counted, width=self.width)
        tau = effort.follow(memory.tau, effort.threshold(windows))
        rates = difficulty.success_rate(rewards, groups.group_ids, above=self.above)
        buckets = jnp.broadcast_to(effort.bucket(rates)[:, None], rewards.shape)
        counts = jnp.sum((windows >= tau).astype(jnp.float32), axis=-1)
        means = effort.by_bucket(counts, buckets, scored)
        alphas, betas = (x[buckets.astype(jnp.int32)] for x in (memory.alpha, memory.beta))
        targets = jnp.round(means)[buckets.astype(jnp.int32)]
        ref_logps = lookup.ref(groups, rollout.kept_ids).logps
        earned = rewards + effort.worth(counts, targets, correct, buckets, alphas)
        batch = self.recipe.credit(rollout, earned, ref_logps)
        wavered = jnp.sum(jnp.maximum(jnp.nan_to_num(windows) - tau, 0), axis=-1) >= 0.5
        held = jnp.where((buckets == 0) & ~correct & wavered, 0.67, 1) * betas * self.kl_coef
        kl = masked.mean(divergence.k3_loss(rollout.sampler.logps, ref_logps), counted, axis=-1)
        memory = effort.move(memory, tau, means, effort.by_bucket(kl, buckets, scored), aim=self.aim)
        return kl_weighted.credit(batch, held[:, :, None] * batch.token_weights), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        return kl_weighted.loss(self.recipe, policy, batch)
