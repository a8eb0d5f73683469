"""Reward under a limit on the divergence from the reference, whose weight is learned (Abdolmaleki et al. 2018, MPO,
arXiv:1806.06920, for the multiplier of a divergence; Ziegler et al. 2019, arXiv:1909.08593, for the aim).

    max_pi E[R]   subject to   g = KL(pi || ref) - limit <= 0
    L = the recipe's + c mean_t KL_t,   c = d penalty(g, lambda) / d g

KL is the mean over the tokens of the batch, sampled; its loss has the value and the gradient of the divergence token
by token, also for tokens of an older policy. Of completions of one token, where the limit binds, the optimum is the
reference tilted by exp(R / lambda): the best policy at that divergence, whatever the scale of the reward.

Differs from Ziegler et al.: they move the weight in proportion to the relative error, held within 20 %; here a rule of
`multiplier` does, and the weight may become 0.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import divergence, generator, multiplier, ratio, weight
from posttrain_jax.recipes.policy import grpo

REPORTED = "kl_limited/"
"""Begins the names of what the batch carries beside the recipe's."""


@dataclasses.dataclass(frozen=True)
class KLLimited:
    """Any online recipe without a reference of its own, held at a divergence instead of by a fixed weight."""

    limit: float
    """The largest mean divergence of a token, in nats."""
    rule: multiplier.Rule = multiplier.DualAscent(1.0)
    """How the limit presses."""
    recipe: types.OnlineRecipe = grpo.GRPO(kl_coef=0.0)
    """What learns from the rewards."""

    def __post_init__(self):
        if self.recipe.needs_ref:
            raise ValueError(f"{type(self.recipe).__name__} weighs a divergence itself: set its kl_coef to 0.")
        multiplier.check_positive(limit=self.limit)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> Float[Array, ""]:
        """The multiplier."""
        return jnp.float32(self.rule.start)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Any, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Float[Array, ""]]:
        """The recipe's, and how hard the limit presses; the next multiplier."""
        counted = rollout.groups.completion_mask & ~jnp.isnan(rewards)[:, :, None]
        batch = self.recipe.credit(rollout, rewards)
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps
        excess = masked.mean(divergence.k1_value(rollout.sampler.logps, ref_logps), counted) - self.limit
        push = multiplier.pressure(self.rule, excess, memory) * weight.token_mean(counted)
        added = {"push": push, "ref_logps": ref_logps, "multiplier": jnp.full(rewards.shape[0], memory)}
        extra = {**batch.extra, **{REPORTED + name: x for name, x in added.items()}}
        return dataclasses.replace(batch, extra=extra), self.rule.update(excess, memory)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        mine = {x.removeprefix(REPORTED): y for x, y in batch.extra.items() if x.startswith(REPORTED)}
        extra = {name: x for name, x in batch.extra.items() if not name.startswith(REPORTED)}
        loss, metrics = self.recipe.loss(policy, dataclasses.replace(batch, extra=extra))
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        kl = divergence.sampled_loss(generator.ReverseKL(), policy.logps, mine["ref_logps"], log_ratios)
        return loss + jnp.sum(mine["push"] * kl), {**metrics, "kl": kl, "multiplier": mine["multiplier"]}
