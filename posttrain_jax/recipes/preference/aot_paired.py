"""Alignment by optimal transport, paired (Melnyk et al. 2024, arXiv:2406.05882).

    L = mean_k -log sigmoid(beta [M_(k) - R_(k)]),   M = log pi(y_w)/pi(y_l),   R = log pi_ref(y_w)/pi_ref(y_l)

M and R are sorted over the batch, each by itself: the policy's margins are to dominate the reference's as a
distribution. `credit` matches the ranks under the policy before the update, where value and gradient are those of the
sorted loss. TRL calls this form `aot`. One pair alone is DPO.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import foreseen, pair, setting


@dataclasses.dataclass(frozen=True)
class AOTPaired:
    """Logistic loss of the policy's margin against the reference's margin of the same rank."""

    beta: float = 0.01
    """How dear it is to leave the reference (beta), per nat."""
    label_noise: float = 0.0
    """Probability that a label is the wrong way round, as in cDPO."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_label_noise(self.label_noise)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: tuple[()]
    ) -> tuple[types.PreferenceBatch, tuple[()]]:
        """Every pair counts alike, and is ranked under the policy before the update."""
        batch = pair.credit(self, groups, lookup.ref(groups).logps)
        chosen, rejected = pair.log_ratio_sums(self, lookup.policy(groups), batch)
        ref_chosen, ref_rejected = pair.logp_sums(pair.reference(self, batch), batch)
        ref_margins = ref_chosen - ref_rejected
        ranked = foreseen.at_rank(chosen - rejected + ref_margins, ref_margins, batch.pair_weights > 0)
        return dataclasses.replace(batch, extra={"ref_margins": ranked}), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen_logps, rejected_logps = pair.logp_sums(policy.logps, batch)
        margins = self.beta * (chosen_logps - rejected_logps - foreseen.extra(self, batch, "ref_margins"))
        losses = link.logistic(margins, label_noise=self.label_noise)
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
