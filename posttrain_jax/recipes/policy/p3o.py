"""Pairwise proximal policy optimization (P3O; Wu et al. 2023, arXiv:2310.00212).

    L = mean over pairs of `surrogate`(R_1 - R_2, l_1, l_2),   l = log pi(y) / pi_old(y)
    R = reward - kl_coef log pi_sampler(y) / pi_ref(y), of whole completions

Three surrogates: `pairwise.unclipped` (PPG, whose gradient on policy is RLOO's), `pairwise.Separate` (V1) and
`pairwise.Joint` (V2, with `clip_is` both ratio and update clipped). It reads comparisons alone: a number added to all
rewards of a prompt changes nothing. All pairs of a row are used, the paper's rows having two completions.

The clipped forms and epsilon = 0.2 are reconstructed. Unrelated methods share the name: preconditioned and penalized
proximal policy optimization among them.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import advantage, contest, divergence, pairwise, ratio, weight
from posttrain_jax.recipes.preference import setting


@dataclasses.dataclass(frozen=True)
class P3O:
    """Policy gradient of pairs, clipped by pairs."""

    surrogate: pairwise.Surrogate = pairwise.Joint()
    """What is clipped, and how."""
    kl_coef: float = 0.05
    """Weight of the divergence from the reference in the reward (beta); 0 needs no reference."""

    def __post_init__(self):
        setting.check_coefficient("kl_coef", self.kl_coef)

    @property
    def needs_ref(self) -> bool:
        """Unless `kl_coef` is 0."""
        return self.kl_coef > 0

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], ref_logps: Float[Array, "P G T"] | None = None
    ) -> types.PolicyBatch:
        """Differences of penalised rewards; completions whose reward is NaN are in no pair."""
        mask, extra = rollout.groups.completion_mask, {}
        if self.needs_ref:
            if ref_logps is None:
                raise ValueError(f"P3O with kl_coef={self.kl_coef} needs a reference: give ref_logps, or set it to 0.")
            extra["kl"] = divergence.k1_value(rollout.sampler.logps, ref_logps)
            rewards -= self.kl_coef * masked.total(extra["kl"], mask, axis=-1)
        scored = jnp.any(mask, axis=-1) & ~jnp.isnan(rewards)
        weights = contest.pair_weights(contest.both(scored))
        pairs = {"pair_weights": weights, "differences": contest.differences(jnp.where(scored, rewards, 0))}
        counted = mask & scored[:, :, None]
        # for those who look at them: the loss reads the differences
        advantages = advantage.leave_one_out(jnp.where(scored, rewards, jnp.nan), jnp.arange(rewards.shape[0]))
        shown = advantage.per_token(advantages, counted)
        return types.PolicyBatch(mask, shown, weight.sequence_sum(counted), extra=extra | pairs)

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        moved = masked.total(ratio.token(policy.logps, batch.old_logps), batch.completion_mask, axis=-1)
        first, second = contest.pairs(moved.shape[1])
        losses = self.surrogate(batch.extra["differences"], moved[:, first], moved[:, second])
        metrics = {"ratio": ratio.exp(moved), "entropy": policy.entropy}
        kl = {"kl": batch.extra["kl"]} if "kl" in batch.extra else {}
        return jnp.sum(batch.extra["pair_weights"] * losses), metrics | kl
