"""Reg-GRPO: advantages as targets of a regression (Park et al. 2025, DeepVideo-R1, arXiv:2506.07464, eq. 8).

    L = (1/N) sum_i (z(R)_i - z(s)_i)^2 + kl_coef (1/N) sum_i (1/n_i) sum_t (e^d - d - 1)
    s_i = sum_t log pi(y_it) / pi_old(y_it),   z(x) = (x - mean(x)) / (std(x) + eps) in the group,   d = log ref / pi

The best policy near the old one has s in proportion to the reward, up to a constant: z removes both. No clipping. The
gradient flows through mean and standard deviation of s and is exact, credit being given before every update; the value
is that of the linear form sum_i sg(dL/ds_i) s_i. Groups of equal rewards have no target and leave the batch.

Differs from the paper: eps is ours (on policy s is 0, and the first step is that of centred REINFORCE over eps); the
divergence is estimated by k3, and is a penalty, where two printed equations subtract it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, divergence, ratio, regression, weight


@dataclasses.dataclass(frozen=True)
class RegGRPO:
    """Standardised sequence log-ratios, fitted to standardised rewards."""

    kl_coef: float = 0.1
    """Weight of the divergence from the reference (beta); 0 needs no reference."""
    eps: float = 0.1
    """Added to the standard deviation of the log-ratios, in nats."""
    credits_anew: ClassVar[bool] = True
    """Each update looks at the policy as it is then."""

    def __post_init__(self):
        if not (self.kl_coef >= 0 and self.eps >= 0):
            raise ValueError(f"kl_coef={self.kl_coef} and eps={self.eps} must not be negative.")

    @property
    def needs_ref(self) -> bool:
        """Unless `kl_coef` is 0."""
        return self.kl_coef > 0

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """Slopes of the error by the log-ratios of the policy; completions whose reward is NaN do not count."""
        groups, ids, kept_ids = rollout.groups, rollout.groups.group_ids, rollout.kept_ids
        scored = ~jnp.isnan(rewards) & advantage.mixed(rewards, ids)[:, None]
        counted = groups.completion_mask & scored[:, :, None]
        targets = regression.standardized(jnp.where(scored, rewards, 0), scored, ids, eps=0.0)
        moved = masked.total(lookup.policy(groups, kept_ids).logps - rollout.sampler.logps, counted, axis=-1)
        among = jnp.any(counted, axis=-1)
        slopes = jax.grad(lambda s: regression.squared_error(s, targets, among, ids, eps=self.eps))(moved)
        batch = types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(-slopes, counted),
            token_weights=weight.sequence_mean(counted),
            ref_logps=lookup.ref(groups, kept_ids).logps if self.needs_ref else None,
        )
        return batch, memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The linear form of the equation above."""
        log_ratios = ratio.token(policy.logps, batch.old_logps)
        loss, metrics = -jnp.sum(batch.advantages * log_ratios), {"ratio": ratio.exp(log_ratios)}
        if self.needs_ref and batch.ref_logps is not None:
            metrics["kl"] = divergence.k3_loss(policy.logps, batch.ref_logps)
            loss += self.kl_coef * jnp.sum(batch.token_weights * metrics["kl"])
        return loss, metrics | {"entropy": policy.entropy}
