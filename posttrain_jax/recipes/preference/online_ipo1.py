"""Regression on wins against an opponent: online IPO 1, EGPO, Nash-MD by pairs (Zhou et al. 2025, arXiv:2503.08942).

    L = mean over pairs (a - a' - (P(y > y'') - P(y' > y'')) / beta)^2,   a = log pi(y)/pi_ref(y),  y'' the opponent's

Who the opponent is says which method it is, in `player.Players`: online IPO 1 {"policy": 1}; Nash-MD {"policy": 0.875,
"ref": 0.125}; EGPO {"ahead": 1}, with the optimizer of `extragradient.make_extragradient`. Wins against several are
averaged. y and y' may be drawn from any player, the papers' from one near uniform (own={"policy": 0.5}). At the
equilibrium the expected gradient is 0, the loss of a pair is not.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from posttrain_jax import types
from posttrain_jax.losses import contest
from posttrain_jax.recipes.preference import duel, setting


@dataclasses.dataclass(frozen=True)
class OnlineIPO1:
    """Log-ratios regressed on win rates against an opponent."""

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

    @property
    def plays(self) -> bool:
        """Always against an opponent."""
        return True

    @property
    def off_policy(self) -> bool:
        """Pairs may be of anyone."""
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
        """All pairs of own completions that are compared with an opponent's."""
        rivals = contest.opponents(rollout, columns)
        shares = contest.shares(self.preference(rewards, columns), rivals)
        known = contest.both(~jnp.isnan(shares))
        targets = contest.differences(jnp.where(jnp.isnan(shares), 0, shares)) / self.beta
        ref_logps = lookup.ref(rollout.groups, rollout.kept_ids).logps
        return duel.batch(contest.own(rollout, rivals), targets, known, ref_logps), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        return duel.loss(self, policy, batch)
