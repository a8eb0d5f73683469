"""f-DPG: become a target distribution p = P / Z, under any f-divergence (Go et al. 2023, arXiv:2302.08215).

    min D_f(pi || p):   L = -(1/N) sum_i (R_i - mean(R_j, j != i)) sum_t log pi(y_it),   R = -f'(t)
    log t = sum_t log pi_sampler(y_t) - log P(y) + log Z,   log P = sum_t log pi_ref(y_t) + log-factor(reward)

With a known Z its expected gradient is exactly that of D_f(pi || p), provided that the policy itself has just sampled
the completions: several updates on one rollout are refused. With `ReverseKL` and `target.Tilted` it is RLOO with a
divergence in the reward, over beta, and Z plays no part. With `ForwardKL` it is GDC++ (Khalifa et al. 2021,
arXiv:2012.11635; Korbak et al. 2022) over Z; DPG and GDC are the same without a baseline.

Differs from the paper: prompts have normalisers of their own (as in Korbak et al. 2021, CDPG, arXiv:2112.00791), each
the mean of P / pi over its group, or one that is given; the paper averages over all past samples of a single one. Its
baseline is a moving average.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, generator, ratio, surrogate, target, weight


@dataclasses.dataclass(frozen=True)
class FDPG:
    """Policy gradient of a divergence from a target distribution."""

    target: target.Target
    """What the reward makes of the reference."""
    divergence: generator.Generator = generator.GeneralizedJS(0.5)
    """D_f, the policy first."""
    log_normalizer: float | None = None
    """log Z where it is known and the same for all prompts, in nats; None estimates it for every group."""

    @property
    def needs_ref(self) -> bool:
        """Always: the target is made of it."""
        return True

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Pseudo-rewards -f'(t) within groups; completions whose reward is NaN do not count."""
        if ref_logps is None:
            raise ValueError("FDPG's target is made of a reference: give ref_logps.")
        groups, scored = rollout.groups, ~jnp.isnan(rewards)
        gaps = masked.total(ref_logps - rollout.sampler.logps, groups.completion_mask, axis=-1)
        log_weights = jnp.where(scored, self.target(jnp.where(scored, rewards, 0)) + gaps, 0)
        counted = groups.completion_mask & scored[:, :, None]
        if self.log_normalizer is None:
            log_z = target.log_normalizer(log_weights, jnp.any(counted, axis=-1), groups.group_ids)[:, None]
        else:
            log_z = jnp.full_like(log_weights, self.log_normalizer)
        log_t = jnp.clip(log_z - log_weights, -ratio.LIMIT, ratio.LIMIT)
        pseudo = jnp.where(scored, -self.divergence.derivative(log_t), jnp.nan)
        return types.PolicyBatch(
            completion_mask=groups.completion_mask,
            advantages=advantage.per_token(advantage.leave_one_out(pseudo, groups.group_ids), counted),
            token_weights=weight.sequence_sum(counted),
            extra={"log_target_ratio": log_t},
        )

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if batch.old_logps is not None:
            raise ValueError("FDPG learns only from what the policy has just sampled: take one update per rollout.")
        losses = surrogate.reinforce(policy.logps, batch.advantages)
        return jnp.sum(batch.token_weights * losses), {"entropy": policy.entropy, **batch.extra}
