"""Alignment by optimal transport, unpaired (Melnyk et al. 2024, arXiv:2406.05882).

    L = mean_k -log sigmoid(beta [a_w(k) - a_l(k)]),   a = log pi(y)/pi_ref(y)

Log-ratios of chosen and of rejected completions are sorted over the batch, each by themselves: which chosen one came
with which rejected one does not matter. `credit` finds the rivals under the policy before the update, where value and
gradient are those of the sorted loss. TRL calls this form `aot_pair` or `aot_unpaired`. One pair alone is DPO.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import foreseen, pair, setting


@dataclasses.dataclass(frozen=True)
class AOTUnpaired:
    """Logistic loss of a chosen completion's log-ratio against that of the rejected one of the same rank."""

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
        counted = batch.pair_weights > 0
        rivals = foreseen.at_rank(rejected, chosen, counted), foreseen.at_rank(chosen, rejected, counted)
        return dataclasses.replace(batch, extra={"rivals": jnp.stack(rivals, axis=1)}), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        rivals = foreseen.extra(self, batch, "rivals")
        up = link.logistic(self.beta * (chosen - rivals[:, 1]), label_noise=self.label_noise)
        down = link.logistic(self.beta * (rivals[:, 0] - rejected), label_noise=self.label_noise)
        # Every matched pair is met twice, from either side: both push, one is counted.
        losses = up + down - jax.lax.stop_gradient(down)
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
