"""Kahneman-Tversky optimization, of unpaired completions (Ethayarajh et al. 2024, arXiv:2402.01306).

    L = lambda_D (1 - sigmoid(beta (a - z)))   desirable      a = log pi(y)/pi_ref(y)
    L = lambda_U (1 - sigmoid(beta (z - a)))   undesirable    z = max(0, mean_i log pi(y_i-1|x_i)/pi_ref(y_i-1|x_i))

The reference point z estimates KL(policy || reference) from completions of other prompts. It has no gradient and is one
number for the whole batch: `credit` scores `labelled.mismatched` with the reference and with the policy as it is before
the update. The loss is the mean over completions. The data say in a column `desirable` (0 or 1) which is which.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import implicit_reward
from posttrain_jax.recipes.preference import labelled, setting


@dataclasses.dataclass(frozen=True)
class KTO:
    """Utility of single completions, gained and lost around a reference point."""

    beta: float = 0.1
    """How soon gains and losses saturate (beta), per nat."""
    desirable_weight: float = 1.0
    """Weight of desirable completions (lambda_D); with n_D of n_U, keep the ratio of weight times count in [1, 4/3]."""
    undesirable_weight: float = 1.0
    """Weight of undesirable completions (lambda_U)."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("desirable_weight", self.desirable_weight)
        setting.check_coefficient("undesirable_weight", self.undesirable_weight)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: tuple[()]
    ) -> tuple[types.LabelledBatch, tuple[()]]:
        """Every completion counts alike, and is measured from the `reference_point`."""
        desirable, others = labelled.labels(self, groups, columns), labelled.mismatched(groups)
        baseline = reference_point(lookup.policy(others), lookup.ref(others), others)
        return labelled.credit(groups, desirable, lookup.ref(groups).logps, baseline), memory

    def loss(self, policy: types.TokenStats, batch: types.LabelledBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        margins = self.beta * (labelled.log_ratios(self, policy, batch) - batch.baselines)
        weights = jnp.where(batch.desirable, self.desirable_weight, self.undesirable_weight)
        losses = weights * (1 - jax.nn.sigmoid(jnp.where(batch.desirable, margins, -margins)))
        return jnp.sum(batch.row_weights * losses), labelled.report(margins, batch)


def reference_point(policy: types.TokenStats, ref: types.TokenStats, groups: types.Groups) -> Float[Array, ""]:
    """z, in nats, of the statistics of `groups`, which `labelled.mismatched` gave."""
    mask = groups.completion_mask
    ratios = implicit_reward.log_ratio_sum(policy.logps, ref.logps, mask)
    return jax.lax.stop_gradient(jnp.maximum(masked.mean(ratios, jnp.any(mask, axis=-1)), 0))
