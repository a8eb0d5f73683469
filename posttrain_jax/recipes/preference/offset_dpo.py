"""ODPO: DPO with an offset (Amini et al. 2024, arXiv:2402.10571).

    L = -log sigmoid(m - alpha log(r_w - r_l)),   m as in DPO,   r = given scores of the completions

Pairs that differ more must be told apart further. The data hold both in a column `scores`, in any unit; pairs whose
chosen completion does not score above the rejected one, or where a score is NaN, do not count.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link, weight
from posttrain_jax.recipes.preference import column, pair, setting


@dataclasses.dataclass(frozen=True)
class OffsetDPO:
    """DPO whose margin must exceed the logarithm of the difference of scores."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    offset_coef: float = 1.0
    """Scale of the offset (alpha); 0 is DPO."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("offset_coef", self.offset_coef)

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
        """Offsets log(r_w - r_l) from the column `scores`; every pair with a difference above 0 counts alike."""
        batch = pair.credit(self, groups, lookup.ref(groups).logps)
        scores = column.take(self, columns, "scores")
        gaps = scores[:, 0] - scores[:, 1]
        counted = gaps > 0
        pair_weights = weight.pair_mean(batch.completion_mask & counted[:, None, None])
        offsets = jnp.log(jnp.where(counted, gaps, 1))
        return dataclasses.replace(batch, pair_weights=pair_weights, extra={"offsets": offsets}), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = pair.log_ratio_sums(self, policy, batch)
        if "offsets" not in batch.extra:
            raise ValueError("OffsetDPO reads offsets: let credit make the batch, or give it extra={'offsets': ...}.")
        losses = link.logistic(self.beta * (chosen - rejected) - self.offset_coef * batch.extra["offsets"])
        return jnp.sum(batch.pair_weights * losses), pair.report(self.beta * chosen, self.beta * rejected)
