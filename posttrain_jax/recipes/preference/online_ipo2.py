"""Online IPO 2: regression on preferences among the policy's own completions (Zhou et al. 2025, arXiv:2503.08942).

    L = mean over pairs (a - a' - (P(y > y') - 1/2) / beta)^2,   a = log pi(y)/pi_ref(y),  y and y' of the policy itself

Its expected gradient is -4 / beta times that of P(pi > sg(pi)) - beta KL(pi || ref): self-play.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from posttrain_jax import types
from posttrain_jax.losses import contest
from posttrain_jax.recipes.preference import duel, setting


@dataclasses.dataclass(frozen=True)
class OnlineIPO2:
    """Log-ratios regressed on the preferences among own completions."""

    beta: float = 0.1
    """Weight of the divergence from the reference, in probability per nat."""
    per_token: bool = False
    """Log-ratios per token instead of per completion, as in the authors' code for language models."""
    preference: contest.Preference = contest.judged
    """Where P comes from."""

    def __post_init__(self):
        setting.check_beta(self.beta)

    @property
    def needs_ref(self) -> bool:
        """Always."""
        return True

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self,
        rollout: types.Rollout,
        rewards: Float[Array, "P G"],
        columns: Mapping[str, Array],
        lookup: types.Lookup,
        memory: PyTree,
    ) -> tuple[types.PreferenceBatch, PyTree]:
        """All pairs that are compared."""
        first, second = contest.pairs(rewards.shape[1])
        wins = self.preference(rewards, columns)[:, first, second]
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps
        return duel.batch(rollout, (wins - 0.5) / self.beta, ~jnp.isnan(wins), ref_logps), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        return duel.loss(self, policy, batch)
