"""Binary classifier optimization, of unpaired completions (Jung et al. 2024, arXiv:2404.04656).

    L = -log sigmoid(+(beta a - delta))   desirable              a = log pi(y)/pi_ref(y)
    L = -log sigmoid(-(beta a - delta))   undesirable

The reward shift delta is a running mean of beta a over both kinds, without gradient: `credit` adds the rewards of the
batch under the policy before the update to its memory. The loss is the mean over completions. The data say in a column
`desirable` (0 or 1) which is which. Differs from the paper: delta is the mean over all completions seen, as in TRL, not
that of the means of both kinds; completions are not weighted by a density ratio.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

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

    def init_memory(self) -> running.RunningMean:
        """Of all rewards seen: none."""
        return running.zero_mean()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: running.RunningMean
    ) -> tuple[types.LabelledBatch, running.RunningMean]:
        """Every completion counts alike, and is measured from the mean of all rewards seen, these among them."""
        desirable = labelled.labels(self, groups, columns)
        mask, ref_logps = groups.completion_mask, lookup.ref(groups).logps
        rewards = self.beta * implicit_reward.log_ratio_sum(lookup.policy(groups).logps, ref_logps, mask)
        memory = memory.update(jax.lax.stop_gradient(rewards), jnp.any(mask, axis=-1))
        return labelled.credit(groups, desirable, ref_logps, memory.mean), memory

    def loss(self, policy: types.TokenStats, batch: types.LabelledBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        margins = self.beta * labelled.log_ratios(self, policy, batch) - batch.baselines
        losses = link.logistic(jnp.where(batch.desirable, margins, -margins))
        return jnp.sum(batch.row_weights * losses), labelled.report(margins, batch)
