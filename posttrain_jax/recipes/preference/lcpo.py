"""Latent collective preference optimization, also RE-PO (Cao et al. 2025, arXiv:2509.24159, eq. 2 to 7).

    L = -w log sigmoid(g) - (1 - w) log sigmoid(-g),   g = l(y_l, y_w) - l(y_w, y_l),   l any loss of pairs
    w = p eta / (p eta + (1 - p) (1 - eta)),   p = sigmoid(g) before the update;   eta <- (1 - a) eta + a mean(w)

w is the probability that the label is right, eta the reliability of its annotator, remembered from step to step. What
is minimised is the likelihood of the induced p, not l weighted by w and 1 - w, which is another objective unless l is
DPO's: with DPO it is cDPO with a noise 1 - w for each pair, and DPO at eta = 1; IPO becomes logistic in 2 h / beta. A
likelihood term beside the preference is no part of g and is added as it is (the paper's table has it inside, for CPO).
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import link, reliability
from posttrain_jax.recipes.preference import column, dpo, foreseen


@dataclasses.dataclass(frozen=True)
class LCPO:
    """Any recipe of pairs, for labels that are wrong now and then."""

    recipe: types.OfflineRecipe = dpo.DPO()
    """Whose loss says how much better a completion is (l)."""
    prior: float = 0.9
    """Reliability of an annotator of whom nothing is known (eta_0)."""
    rate: float = 0.1
    """How fast reliabilities follow a batch (a)."""
    annotators: int = 1
    """How many there are; with more than one, the column `annotator` has each pair's, from 0."""

    def __post_init__(self):
        if not reliability.LOWEST <= self.prior <= reliability.HIGHEST:
            raise ValueError(f"prior={self.prior} lets labels say nothing or everything: choose it in [0.501, 0.999].")
        if not (0 <= self.rate <= 1 and self.annotators >= 1):
            raise ValueError(f"rate={self.rate} must be a share and annotators={self.annotators} at least 1.")

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> Float[Array, "A"]:
        """Reliability of every annotator."""
        return jnp.full(self.annotators, self.prior, jnp.float32)

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: Float[Array, "A"]
    ) -> tuple[types.PreferenceBatch, Float[Array, "A"]]:
        """The recipe's, the posterior of each label under the policy before the update, and new reliabilities."""
        batch = self.recipe.credit(groups, lookup.ref(groups).logps if self.needs_ref else None)
        rows = jnp.zeros(batch.pair_weights.shape, jnp.int32)
        by = rows if self.annotators == 1 else rows + column.take(self, columns, "annotator").astype(jnp.int32)
        known = memory.at[by].get(mode="fill", fill_value=self.prior, wrap_negative_indices=False)
        posteriors = reliability.posterior(self.gaps(lookup.policy(groups), batch), known)
        memory = reliability.follow(memory, posteriors, by, batch.pair_weights > 0, rate=self.rate)
        return dataclasses.replace(batch, extra={**batch.extra, "posteriors": posteriors}), memory

    def gaps(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> Float[Array, "P"]:
        """g of each pair: what it would cost more to be labelled the other way round."""
        batch = dataclasses.replace(batch, pair_weights=jnp.ones_like(batch.pair_weights))

        def gap(*row):
            turned = jax.tree.map(lambda x: x[:, ::-1] if x.ndim == 3 else x, row)
            return self.recipe.loss(*turned)[0] - self.recipe.loss(*row)[0]

        return jax.vmap(gap)(*jax.tree.map(lambda x: x[:, None], (policy, batch)))

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        gaps, right = self.gaps(policy, batch), foreseen.extra(self, batch, "posteriors")
        losses = right * link.logistic(gaps) + (1 - right) * link.logistic(-gaps)
        alone = dataclasses.replace(batch, pair_weights=jnp.zeros_like(batch.pair_weights))
        beside, metrics = self.recipe.loss(policy, alone)
        return jnp.sum(batch.pair_weights * losses) + beside, metrics | {"posterior": right}
