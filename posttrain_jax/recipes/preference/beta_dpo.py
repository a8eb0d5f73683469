"""beta-DPO: DPO whose beta follows the batch (Wu et al. 2024, arXiv:2407.08639).

    L = -log sigmoid(b D),   b = max(beta [1 + alpha (mean(M) - M_0)], 0.001),   M = scale D,   beta D as in DPO

Pairs are first thinned: a share rho is drawn without replacement, with weights exp(-(M - M_0)^2 / (2 sigma^2)), and the
mean is over those. M_0 and sigma are moving averages of the batch's mean and deviation (`running.MovingMoments`, decay
0.9). Nothing of it has a gradient. Sources disagree: the paper's scale is beta, that of the authors' code is 1, and the
code updates the averages before using them.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import link, running, selection, weight
from posttrain_jax.recipes.preference import foreseen, pair, setting


@dataclasses.dataclass(frozen=True)
class BetaDPO:
    """DPO with a beta for every batch, on the pairs that are no outliers."""

    beta: float = 0.1
    """Beta of a batch of average margin (beta_0), per nat."""
    gain: float = 0.6
    """How far beta follows the margin (alpha)."""
    keep: float = 0.8
    """Share of the pairs that is kept (rho)."""
    scale: float = 0.1
    """Margins in nats are multiplied by this before they are compared: beta in the paper, 1 in the authors' code."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("gain", self.gain)
        if not (0 < self.keep <= 1 and self.scale > 0):
            raise ValueError(f"keep={self.keep} and scale={self.scale} must be a share above 0 and a positive number.")

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> running.MovingMoments:
        """M_0 and sigma; that they start at 0 and at 1 nat is our choice."""
        return running.MovingMoments(mean=jnp.float32(0), std=jnp.float32(self.scale))

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: running.MovingMoments
    ) -> tuple[types.PreferenceBatch, running.MovingMoments]:
        """Beta and the kept pairs, from the policy before the update and the averages of the batches before."""
        batch = pair.credit(self, groups, lookup.ref(groups).logps)
        chosen, rejected = pair.log_ratio_sums(self, lookup.policy(groups), batch)
        margins, counted = self.scale * (chosen - rejected), batch.pair_weights > 0
        odds = -((margins - memory.mean) ** 2) / (2 * jnp.maximum(memory.std, 1e-6) ** 2)
        kept = selection.without_replacement(odds, counted, groups.group_ids, lookup.key, share=self.keep)
        excess = masked.mean(margins, kept) - memory.mean
        beta = jnp.maximum(self.beta * (1 + self.gain * excess), 1e-3)
        weights = weight.pair_mean(groups.completion_mask & kept[:, None, None])
        batch = dataclasses.replace(batch, pair_weights=weights, extra={"betas": jnp.full_like(margins, beta)})
        return batch, memory.update(margins, counted, decay=0.9)

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        betas = foreseen.extra(self, batch, "betas")
        losses = link.logistic(betas * (chosen - rejected))
        return jnp.sum(batch.pair_weights * losses), pair.report(betas * chosen, betas * rejected) | {"beta": betas}
