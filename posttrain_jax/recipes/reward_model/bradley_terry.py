"""A reward from preferences (Bradley and Terry 1952; Ouyang et al. 2022, arXiv:2203.02155, eq. 1).

    L = -(1 - e) log sigmoid(d) - e log sigmoid(-d) + centre_coef (s_w + s_l)^2 + norm_coef (s_w^2 + s_l^2) / 2
    d = (s_w - s_l - margin) / tau

Scores are read after a completion's last token; the loss is the mean over pairs. Each number of a head with several is
a reward model of its own (members of an ensemble on one trunk), and the loss is the mean over them.
"""

import dataclasses

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import link, outcome
from posttrain_jax.recipes.preference import pair, setting
from posttrain_jax.recipes.reward_model import scored


@dataclasses.dataclass(frozen=True)
class BradleyTerry:
    """Logistic loss of the difference of two scores."""

    temperature: float = 1.0
    """Of the scores (tau), in units of the reward per nat."""
    margin: float = 0.0
    """By how much chosen must exceed rejected before the pair counts as half learned (m)."""
    label_noise: float = 0.0
    """Probability that a label is the wrong way round (e)."""
    centre_coef: float = 0.0
    """Weight of the squared sum of both scores (c): holds them near 0. TRL recommends 0.01."""
    norm_coef: float = 0.0
    """Weight of half the sum of both squares; OpenAssistant and Coste et al. 2023 use 0.001."""

    def __post_init__(self):
        scored.check_temperature(self.temperature)
        setting.check_label_noise(self.label_noise)

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def credit(self, groups: types.Groups, ref_logps: Float[Array, "P K T"] | None = None) -> types.PreferenceBatch:
        """Every pair counts alike; one with an empty completion does not count."""
        return pair.credit(self, groups, None)

    def loss(self, policy: scoring.Scores, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = scored.pair(policy, batch)
        gaps = (chosen - rejected - self.margin) / self.temperature
        losses = link.logistic(gaps, label_noise=self.label_noise)
        losses += self.centre_coef * outcome.uncentred(chosen, rejected)
        losses += self.norm_coef * (chosen**2 + rejected**2) / 2
        report = scored.report(jnp.mean(chosen, axis=-1), jnp.mean(rejected, axis=-1))
        return jnp.sum(batch.pair_weights * scored.mean_over_members(losses)), report
