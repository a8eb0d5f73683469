"""TGDPO: DPO with token-level reward guidance (Zhu et al. 2025, arXiv:2506.14574).

    L = -log sigmoid(beta sum_t max(1 + alpha r_t^w, 0) d_t^w - beta sum_t max(1 - alpha r_t^l, 0) d_t^l)
    d_t = log pi(y_t)/pi_ref(y_t),   r_t = beta log pi_guide(y_t)/pi_ref(y_t)

The guide is a model trained before by DPO or SimPO, `fixed={"guide": ...}` in the loop; training starts from the
reference, not from it. Tokens it likes weigh more in chosen completions and less in rejected ones. A guide that is the
reference, or alpha = 0, gives DPO.

Differs from the paper: weights are held at 0, which its theory asks for, where the authors' code lets them be negative.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import link
from posttrain_jax.recipes import asked
from posttrain_jax.recipes.preference import foreseen, pair, setting


@dataclasses.dataclass(frozen=True)
class TGDPO:
    """DPO whose tokens are weighted by the implicit reward of a model trained before."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    guidance: float = 0.5
    """How far weights follow the guide's reward (alpha)."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("guidance", self.guidance)

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
        """Every pair counts alike; weights of tokens from what the guide says of them."""
        batch = pair.credit(self, groups, lookup.ref(groups).logps)
        guide_logps = asked.model(self, lookup, "guide")(groups).logps
        return dataclasses.replace(batch, extra={"weights": self.weights(guide_logps, batch)}), memory

    def weights(self, guide_logps: Float[Array, "P K T"], batch: types.PreferenceBatch) -> Float[Array, "P K T"]:
        """max(1 + alpha r, 0) on chosen and max(1 - alpha r, 0) on rejected tokens, without gradient."""
        rewards = self.beta * (guide_logps - pair.reference(self, batch))
        signs = jnp.array([1.0, -1.0])[None, :, None]
        return jax.lax.stop_gradient(jnp.maximum(1 + self.guidance * signs * rewards, 0))

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        ratios = foreseen.extra(self, batch, "weights") * (policy.logps - pair.reference(self, batch))
        chosen, rejected = pair.split(self.beta * masked.total(ratios, batch.completion_mask, axis=-1))
        return jnp.sum(batch.pair_weights * link.logistic(chosen - rejected)), pair.report(chosen, rejected)
