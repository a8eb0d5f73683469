"""Clip-Cov (Cui et al. 2025, the entropy mechanism, arXiv:2505.22617).

    L = (1 / sum_i n_i) sum_i sum_t k_it [ -min(r A, clip(r, 1 - eps, 1 + eps) A) ]
    k_it = 0 on a few tokens drawn from those with low < (A - mean(A)) (log pi - mean(log pi)) < high, else 1

Means are over the batch's tokens, A standardises rewards within the group. A step of policy gradient lowers the entropy
in proportion to that covariance, most of which a few tokens carry: some of them are left out, though they stay in the
denominator. Otherwise it is GRPO by tokens, so its expected gradient is as bent by the standard deviation, and by what
is left out.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import covariance, ratio, selection, surrogate, weight
from posttrain_jax.recipes.policy import grpo


@dataclasses.dataclass(frozen=True)
class ClipCov:
    """Clipped policy gradient without some of the tokens that cost most entropy."""

    recipe: grpo.GRPO = grpo.GRPO(kl_coef=0.0)
    """Gives advantages and loss."""
    share: float = 2e-4
    """Of the counted tokens, those to leave out, one at least (the clip ratio)."""
    low: float = 1.0
    """Covariance above which a token may be left out (verl's lower bound)."""
    high: float = 5.0
    """Covariance below which it may (verl's upper bound)."""
    credits_anew: ClassVar[bool] = True
    """Each update looks at the policy as it is then."""

    def __post_init__(self):
        if not (0 <= self.share <= 1 and self.low < self.high):
            raise ValueError(f"share={self.share} must lie in [0, 1] and low={self.low} below high={self.high}.")

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
        """GRPO's by tokens, with weight 0 on the tokens drawn; rewards that are NaN do not count."""
        groups, kept_ids = rollout.groups, rollout.kept_ids
        ref_logps = lookup.ref(groups, kept_ids).logps if self.needs_ref else None
        batch, logps = self.recipe.credit(rollout, rewards, ref_logps), lookup.policy(groups, kept_ids).logps
        counted = batch.token_weights > 0
        covariances = covariance.of_tokens(logps, batch.advantages, counted)
        cut = surrogate.clip_fraction(
            ratio.token(logps, rollout.sampler.logps),
            batch.advantages,
            low=self.recipe.clip_low,
            high=self.recipe.clip_high,
        )
        drawable = counted & (covariances > self.low) & (covariances < self.high) & (cut == 0)
        luck, count = selection.luck(groups, lookup.key), selection.share_of(counted, self.share)
        left_out = selection.highest(luck, drawable, count)
        weights = jnp.where(left_out, 0, weight.token_mean(counted))
        return dataclasses.replace(batch, token_weights=weights), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        return self.recipe.loss(policy, batch)
