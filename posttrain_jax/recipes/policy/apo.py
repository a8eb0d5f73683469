"""APO: asymmetric policy optimization (View-R1 2025, arXiv:2506.21655), with DADS and STCR.

    L = the held recipe's + kl_coef (1/N) sum_i w_i (1/n_i) sum_t (e^d - d - 1),   d = log pi_ref / pi
    w_i = f(share of wrong completions) where A_i > 0, else 1   (DADS, difficulty-adaptive divergence shaping)
    f(d) = 1 - exp(-e (1 - d)), e Euler's number, and 1 at d = 0 and d = 1
    A_i <- s_i A_i,   s_i = 2 - b^-(n_i - mean n of correct ones) of wrong completions longer than that, else 1   (STCR)

Good completions of hard prompts may leave the reference farther; wrong ones that went on too long are punished more.
No sign changes, but the advantages of a group no longer add up to 0. With the authors' b the scale is 1.04 at 4096
tokens too many. b = 1 and f = 1 are GRPO. Tokens weigh alike, as in the authors' code. What is scaled by the lengths of
others has the expected gradient of no fixed reward.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import asymmetry, difficulty, weight
from posttrain_jax.recipes.policy import grpo, kl_weighted


@dataclasses.dataclass(frozen=True)
class APO:
    """GRPO that holds easy prompts and punishes overthinking."""

    kl_coef: float = 1e-3
    """Weight of the divergence (beta)."""
    base: float = 1.00001
    """How fast wrong completions that are too long lose (b)."""
    above: float = 0.5
    """Completions with a reward above this are correct."""
    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.0)
    """Gives advantages and the rest of the loss."""

    def __post_init__(self):
        kl_weighted.check(self.recipe)
        if not self.base >= 1:
            raise ValueError(f"base={self.base} rewards wrong completions for their length: choose 1 or more.")

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Any, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """GRPO's advantages, scaled, and weights of the divergence; completions whose reward is NaN do not count."""
        groups, scored, correct = rollout.groups, ~jnp.isnan(rewards), rewards > self.above
        counted = groups.completion_mask & scored[:, :, None]
        batch = self.recipe.credit(rollout, rewards, lookup.ref(groups, rollout.kept_ids).logps)
        lengths = jnp.sum(groups.completion_mask, axis=-1)
        scales = asymmetry.overthinking(lengths, correct, scored, groups.group_ids, base=self.base)
        hard = 1 - difficulty.success_rate(rewards, groups.group_ids, above=self.above)[:, None, None]
        held = jnp.where(batch.advantages > 0, asymmetry.ease(hard), 1) * self.kl_coef
        advantages, weights = batch.advantages * scales[:, :, None], weight.token_mean(counted)
        batch = dataclasses.replace(batch, advantages=advantages, token_weights=weights)
        return kl_weighted.credit(batch, held * weight.sequence_mean(counted)), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        return kl_weighted.loss(self.recipe, policy, batch)
