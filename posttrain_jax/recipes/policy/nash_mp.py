"""Nash Mirror Prox (Tiapkin et al. 2025, arXiv:2505.19731; a later version is called Nash Prox).

    half  = argmax_pi P(pi > pi_k)  - beta KL(pi || ref) - (beta / eta) KL(pi || pi_k)
    next  = argmax_pi P(pi > half)  - beta KL(pi || ref) - (beta / eta) KL(pi || pi_k)

Each by policy gradient on r_i = mean_j P(y_i > y'_j) - beta log pi/ref - (beta / eta) log pi/target. The loop turns the
two problems, of n steps each: `versions={"target": Moving(1.0, every=2 n), "half": Moving(1.0, every=n)}` and
`Players(opponent={"half": 1})`. After n steps the opponent is the half step, after 2 n both are the next iterate. Nash
Prox plays against itself: `Players(opponent={"policy": 1})`, and a target that moves seldom.

With eta = 2 beta, exactly solved, KL(pi* || pi_k) falls by 1 / (1 + 2 beta) an iteration (`losses.game.step`).
Reconstructed from abstract and a review: inner solver, target and baseline are ours.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import contest, divergence
from posttrain_jax.recipes.policy import rloo
from posttrain_jax.recipes.preference import setting


@dataclasses.dataclass(frozen=True)
class NashMP:
    """Policy gradient of win rates against an opponent, near the reference and near a target that moves."""

    kl_coef: float = 0.1
    """Weight of the divergence from the reference (beta), in probability per nat."""
    eta: float = 0.2
    """kl_coef / eta is the weight of the divergence from the target; the theory has eta = 2 beta."""
    preference: contest.Preference = contest.judged
    """Where P comes from."""

    def __post_init__(self):
        setting.check_beta(self.kl_coef)
        setting.check_beta(self.eta)

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
        """Its own completions are the policy's."""
        return False

    def init_memory(self) -> tuple[()]:
        """Nothing."""
        return ()

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[types.PolicyBatch, Any]:
        """Own completions that are compared with an opponent's."""
        if "target" not in lookup.fixed:
            raise ValueError('NashMP stays near a target: give the loop versions={"target": reference.Moving(...)}.')
        rivals, groups = contest.opponents(rollout, columns), rollout.groups
        shares = contest.shares(self.preference(rewards, columns), rivals)
        moved = divergence.k1_value(rollout.sampler.logps, lookup.fixed["target"](groups).logps)
        near = self.kl_coef / self.eta * masked.total(moved, groups.completion_mask, axis=-1)
        known = jnp.where(rivals, jnp.nan, shares) - near
        batch = rloo.RLOO(self.kl_coef).credit(contest.own(rollout, rivals), known, lookup.ref(groups).logps)
        return dataclasses.replace(batch, extra={**batch.extra, "win_rate": jnp.nan_to_num(shares, nan=0.5)}), memory

    def loss(self, policy: types.TokenStats, batch: types.PolicyBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe of policy gradients."""
        return rloo.RLOO(self.kl_coef).loss(policy, batch)
