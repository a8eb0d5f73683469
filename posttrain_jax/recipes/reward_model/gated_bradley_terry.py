"""One reward from several attributes, weighed by the prompt (ArmoRM: Wang et al. 2024, arXiv:2406.12845, section 3.2).

    R = sum_k softmax(g(prompt))_k s_k,   L = -log sigmoid(R_w - R_l)

The attributes s (learned before, by `AttributeRegression`) have no gradient: only the gate learns which counts where.
The loss is the mean over pairs.

Differs from the paper: the gate is one matrix where it is a small MLP; the trunk learns as well, through the gate,
unless it is under adapters or the optimizer leaves it alone; attributes are not first freed of their correlation with
length.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import link, outcome
from posttrain_jax.recipes.preference import pair
from posttrain_jax.recipes.reward_model import scored


@dataclasses.dataclass(frozen=True)
class GatedBradleyTerry:
    """Logistic loss of a gated sum of attributes."""

    temperature: float = 1.0
    """Of the combined reward (tau), in its units per nat."""

    def __post_init__(self):
        scored.check_temperature(self.temperature)

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty completion does not count."""
        return pair.credit(self, groups, None)

    def loss(self, policy: scoring.Scores, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        if policy.gates is None or policy.gates.shape[-1] != policy.tokens.shape[-1]:
            raise ValueError("GatedBradleyTerry wants a gate as wide as the head: build the model with gates=size.")
        weights = outcome.gate(policy.gates)
        chosen, rejected = (outcome.combined(jax.lax.stop_gradient(x), weights) for x in scored.pair(policy, batch))
        losses = link.logistic((chosen - rejected) / self.temperature)
        return jnp.sum(batch.pair_weights * losses), scored.report(chosen, rejected)
