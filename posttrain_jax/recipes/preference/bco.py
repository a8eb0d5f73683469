"""Binary classifier optimization, of unpaired completions (Jung et al. 2024, arXiv:2404.04656).

    L = -log sigmoid(+(beta a - delta))   desirable              a = log pi(y)/pi_ref(y)
    L = -log sigmoid(-(beta a - delta))   undesirable

The reward shift delta is a running mean of beta a over both kinds, without gradient. It is one number for the whole
batch: before each update, `observe` the policy's rewards, and hand the mean to `credit`. The loss is the mean over
completions. Differs from the paper: delta is the mean over all completions seen, as in TRL, not that of the means of
both kinds; completions are not weighted by a density ratio.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from posttrain_jax import types
from posttrain_jax.losses import implicit_reward, link, running
from posttrain_jax.recipes.preference import labelled, setting


@dataclasses.dataclass(frozen=True)
class BCO:
    """Each completion classified by itself, as desirable or not, by a reward measured from its running mean."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""

    def __post_init__(self):
        setting.check_beta(self.beta)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def observe(
        self,
        past: running.RunningMean,
        groups: types.Groups,
        ref_logps: Float[Array, "P 1 T"],
        policy_logps: Float[Array, "P 1 T"],
    ) -> running.RunningMean:
        """`past` (first `running.zero_mean()`) and the rewards of this batch, under the policy before the update."""
        mask = groups.completion_mask
        rewards = self.beta * implicit_reward.log_ratio_sum(policy_logps, ref_logps, mask)
        return past.update(rewards, jnp.any(mask, axis=-1))

    def credit(
        self,
        groups: types.Groups,
        ref_logps: Float[Array, "P 1 T"] | None = None,
        *,
        desirable: Bool[Array, "P"] | None = None,
        baseline: Float[Array, ""] | None = None,
    ) -> types.LabelledBatch:
        """Every completion counts alike; `baseline` is the mean that `observe` gave (delta), beta included."""
        return labelled.credit(self, groups, ref_logps, desirable, baseline)

    def loss(self, policy: types.TokenStats, batch: types.LabelledBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        margins = self.beta * labelled.log_ratios(self, policy, batch) - batch.baselines
        losses = link.logistic(jnp.where(batch.desirable, margins, -margins))
        return jnp.sum(batch.row_weights * losses), labelled.report(margins, batch)
