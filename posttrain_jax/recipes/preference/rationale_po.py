"""Preferences with rationales (Just et al. 2024, arXiv:2407.14477, eq. 4).

    L = L_recipe(y_w, y_l) - gamma log pi(r | x, y_w > y_l) / n_r

The policy also learns to say why the one is better. Rows hold chosen, rejected and rationale; what comes before the
rationale (both answers and the question which is better and why) stands at the beginning of the third completion,
outside the mask (`data/context.py`). No reference for the rationale.

Sources disagree. The paper prints log pi(r) and uses gamma = 2 with DPO, 10 with ORPO, which only a mean per token
makes sense of; its code adds -log sigmoid(gamma log pi(r)) of the sum with gamma = 0.001, whose gradient is 0.5 to 1
times that of gamma log pi(r). Here it is the paper's form, per token, or of the sum with `per_token=False`.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import types
from posttrain_jax.losses import likelihood, weight
from posttrain_jax.recipes.preference import dpo, setting

WEIGHTS = "rationale_weights"
"""Its name in the batch's `extra`."""


@dataclasses.dataclass(frozen=True)
class RationalePO:
    """Any recipe of pairs, and likelihood of a rationale for each."""

    recipe: types.OfflineRecipe = dpo.DPO()
    """Of the pair."""
    nll_coef: float = 2.0
    """Weight of the rationale (gamma)."""
    per_token: bool = True
    """Rationales count by the mean of their tokens, instead of the sum."""

    def __post_init__(self):
        setting.check_coefficient("nll_coef", self.nll_coef)

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """The recipe's of the pair; every rationale counts alike, an empty one does not."""
        count = groups.completions.shape[1]
        if count != 3:
            raise ValueError(f"RationalePO wants (chosen, rejected, rationale) in every row, not {count} completions.")
        pairs = dataclasses.replace(
            groups,
            completions=groups.completions[:, :2],
            completion_lengths=groups.completion_lengths[:, :2],
            completion_mask=groups.completion_mask[:, :2],
        )
        batch = self.recipe.credit(pairs, None if ref_logps is None else ref_logps[:, :2])
        averaged = weight.sequence_mean if self.per_token else weight.sequence_sum
        weights = averaged(groups.completion_mask[:, 2:])
        return dataclasses.replace(batch, extra={**batch.extra, WEIGHTS: weights})

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        pairs = types.TokenStats(logps=policy.logps[:, :2], entropy=policy.entropy[:, :2])
        loss, metrics = self.recipe.loss(pairs, batch)
        nll = batch.extra[WEIGHTS] * likelihood.negative_log_likelihood(policy.logps[:, 2:])
        return loss + self.nll_coef * jnp.sum(nll), metrics
