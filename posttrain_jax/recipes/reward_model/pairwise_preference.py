"""A model that reads both answers at once (pair reward model: Jiang et al. 2023, PairRM, arXiv:2306.02561).

    L = [-log sigmoid(d(w, l)) - log sigmoid(-d(l, w))] / 2

d(A, B) is the number after a text that shows A, then B: the log-odds that A is better. A row holds both orders, the
chosen answer first and second (`data.judgement.both_orders`). Freed of the order, the probability that w is preferred
is [sigmoid(d(w, l)) + 1 - sigmoid(d(l, w))] / 2. The loss is the mean over pairs.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import pair
from posttrain_jax.recipes.reward_model import scored


@dataclasses.dataclass(frozen=True)
class PairwisePreference:
    """Cross-entropy of which of two answers, both in view, is better."""

    label_noise: float = 0.0
    """Probability that a label is the wrong way round."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty text does not count."""
        return pair.credit(self, groups, None)

    def loss(self, policy: scoring.Scores, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        first, second = pair.split(scored.singles(self, policy, batch.completion_mask))
        losses = sum(link.logistic(x, label_noise=self.label_noise) for x in (first, -second)) / 2
        preferred = (jax.nn.sigmoid(first) + 1 - jax.nn.sigmoid(second)) / 2
        report = {"preferred": preferred, "accuracy": (preferred > 0.5).astype(jnp.float32)}
        return jnp.sum(batch.pair_weights * losses), report | {"order_bias": (first + second) / 2}
