"""GEPO: group equivalent preference optimization (Wu et al. 2025, OORL, arXiv:2505.12723).

    L = -log sigmoid(beta [mean_w h - mean_l h]) + lambda var_w h,   h = log pi(y)/pi_ref(y)

Winners of a row are equivalent to one another (one function at several levels of optimisation), so that their
log-ratios should not differ; the variance is the population's, and of h, not of beta h. With one winner and one loser
it is DPO. Rows may hold fewer than K completions. The paper adds it, times 0.01, to a clipped policy gradient on other
prompts; beta is not stated there. h over long completions makes the variance huge: `per_token` takes means.
Reconstructed from the prose: the displayed equations were not at hand.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import implicit_reward, link
from posttrain_jax.recipes.preference import column, foreseen, pair, setting


@dataclasses.dataclass(frozen=True)
class GEPO:
    """DPO between the means of two groups, and equal log-ratios among the winners."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    variance_coef: float = 1.0
    """Weight of the winners' variance (lambda), per squared nat."""
    per_token: bool = False
    """Log-ratios per token instead of per completion."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("variance_coef", self.variance_coef)

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
        """Rows with a winner (above 0 in the column `winners`) and a loser count alike; NaN leaves a completion out."""
        mask = groups.completion_mask
        winners = column.per_completion(self, columns, "winners", groups)
        present = jnp.any(mask, axis=-1)
        kinds = {"winners": present & (winners > 0), "losers": present & (winners <= 0)}
        counted = (jnp.any(kinds["winners"], axis=1) & jnp.any(kinds["losers"], axis=1)).astype(jnp.float32)
        weights = counted / jnp.maximum(jnp.sum(counted), 1)
        batch = types.PreferenceBatch(mask, weights, lookup.ref(groups).logps, extra=kinds)
        return batch, memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        read = implicit_reward.log_ratio_mean if self.per_token else implicit_reward.log_ratio_sum
        ratios = read(policy.logps, pair.reference(self, batch), batch.completion_mask)
        winner, loser = (foreseen.extra(self, batch, name) for name in ("winners", "losers"))
        chosen, rejected = (self.beta * masked.mean(ratios, kind, axis=1) for kind in (winner, loser))
        spread = masked.variance(ratios, winner, axis=1)
        losses = link.logistic(chosen - rejected) + self.variance_coef * spread
        return jnp.sum(batch.pair_weights * losses), pair.report(chosen, rejected) | {"winner_variance": spread}
