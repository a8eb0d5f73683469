"""Reward under limits on other rewards: Lagrangian and penalty methods around any online recipe (Altman 1999,
constrained Markov decision processes; with a learned multiplier Dai et al. 2023, Safe RLHF, arXiv:2310.12773).

    max_pi E[R]   subject to   g_k = E[C_k] - d_k <= 0, or d_k - E[C_k] <= 0
    L = the recipe's, of the rewards   R - sum_k c_k (g_k(y) - mean g_k),   c_k = d penalty(g_k, lambda_k) / d g_k

Means are of the whole batch, under the policy that sampled it. Multipliers are moved once a rollout, remembered in the
training state and reported. `multiplier` has the rules: dual ascent, augmented Lagrangian, hinge, barrier. Under dual
ascent the expected gradient is the recipe's on the Lagrangian; the others take c_k from the batch, which bends it.

Differs from Safe RLHF: rewards are not divided by 1 + lambda (a recipe that standardises them takes no note of it), and
each limit has a multiplier of its own.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import limit, multiplier
from posttrain_jax.recipes.policy import grpo

REPORTED = "constrained/"
"""Begins the names of what the batch carries for the report."""


@dataclasses.dataclass(frozen=True)
class Constrained:
    """Any online recipe, whose other rewards must stay within limits."""

    limits: tuple[limit.Limit, ...]
    """What must hold on average (d_k): `limit.AtMost("length", 200.0)`, `limit.AtLeast("safety", 0.9)`."""
    rule: multiplier.Rule
    """How limits press: `multiplier.DualAscent(0.1)`, `Augmented(1.0)`, `Hinge(10.0)`, `Barrier()`."""
    recipe: types.OnlineRecipe = grpo.GRPO(kl_coef=0.0)
    """What learns from the rewards as they are held back."""
    objective: str | None = None
    """The name of the reward to maximise (R); None takes the weighted sum of all, where limited ones may weigh 0."""

    def __post_init__(self):
        if not self.limits:
            raise ValueError("limits are empty: name a reward that must stay within one, or take the recipe alone.")

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> Float[Array, "K"]:
        """The multipliers."""
        return jnp.full(len(self.limits), self.rule.start, jnp.float32)

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Float[Array, "K"]]:
        """The recipe's, of rewards that are held back; the next multipliers."""
        if self.objective is not None:
            rewards = limit.gather(columns, [self.objective])[..., 0]
        excess = limit.excesses(self.limits, columns)
        held = limit.held_back(rewards, excess, self.rule, memory)
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps if self.needs_ref else None
        batch = self.recipe.credit(rollout, held, ref_logps)
        mean, extra = limit.means(excess), dict(batch.extra)
        for k, one in enumerate(self.limits):
            extra[f"{REPORTED}multiplier/{one.title}"] = jnp.full(held.shape[0], memory[k])
            extra[f"{REPORTED}excess/{one.title}"] = jnp.full(held.shape[0], mean[k])
        return dataclasses.replace(batch, extra=extra), self.rule.update(mean, memory)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        shown = {name.removeprefix(REPORTED): x for name, x in batch.extra.items() if name.startswith(REPORTED)}
        extra = {name: x for name, x in batch.extra.items() if not name.startswith(REPORTED)}
        loss, metrics = self.recipe.loss(policy, dataclasses.replace(batch, extra=extra))
        return loss, {**metrics, **shown}
