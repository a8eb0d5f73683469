"""Efficient exact optimization on pairs (Ji et al. 2024, arXiv:2402.00856, eq. 16).

    L = KL((s, 1 - s) || (1 - e, e)) = s log(s / (1 - e)) + (1 - s) log((1 - s) / e),   s = sigmoid(m),   m as in DPO

The reverse KL where DPO has the forward one: it seeks a mode, and is 0 at m = log((1 - e) / e) alone.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class EXO:
    """Reverse KL of the preference under the policy from the smoothed label."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    label_noise: float = 0.001
    """Smoothing of the label (epsilon), above 0."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_label_noise(self.label_noise)
        if not self.label_noise > 0:
            raise ValueError("label_noise=0 makes the loss infinite: choose it above 0, for instance 0.001.")

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
        losses = link.reverse_kl(self.beta * (chosen - rejected), label_noise=self.label_noise)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
