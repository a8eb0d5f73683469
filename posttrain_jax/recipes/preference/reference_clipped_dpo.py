"""Hybrid-DPO: DPO that follows the reference only where it agrees with the label (arXiv:2602.11902).

    L = -log sigmoid(beta [log pi(y_w)/pi(y_l) - max(0, log pi_ref(y_w)/pi_ref(y_l))])

Equal to DPO where the reference prefers the chosen completion; elsewhere as if it had no preference. Not HyPO, which
adds a KL on online samples.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class ReferenceClippedDPO:
    """DPO whose reference margin is cut off at 0."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""

    def __post_init__(self):
        setting.check_beta(self.beta)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty completion does not count."""
        return pair.credit(self, groups, ref_logps)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        ref_chosen, ref_rejected = pair.logp_sums(pair.reference(self, batch), batch)
        disagreement = jax.nn.relu(ref_rejected - ref_chosen)
        losses = link.logistic(self.beta * (chosen - rejected - disagreement))
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
