"""Identity preference optimization (Azar et al. 2023, arXiv:2310.12036, eq. 17).

    L = (h - 1 / (2 beta))^2,   h = a_w - a_l,   a = log pi(y)/pi_ref(y)

Sources disagree on a: the paper sums over the completion; TRL takes the mean per token, which it says the authors
confirmed. The paper's form is the default, `per_token` gives the other; beta is then the inverse of nats per token.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair, setting


@dataclasses.dataclass(frozen=True)
class IPO:
    """Squared distance of the log-ratios' difference from a target, which it cannot overshoot as DPO does."""

    beta: float = 0.1
    """Strength of the pull to the reference (tau), per nat; the target is 1 / (2 beta) nats."""
    per_token: bool = False
    """Log-ratios per token instead of per completion."""

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
        read = pair.log_ratio_means if self.per_token else pair.log_ratio_sums
        chosen, rejected = read(self, policy, batch)
        losses = link.squared(chosen - rejected, target=1 / (2 * self.beta))
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
