"""Reward models of groups of people (MaxMin-RLHF: Chakraborty et al. 2024, arXiv:2402.08925, algorithm 2).

    L = -sum_u z_u(h) log sigmoid(r_u(y_w) - r_u(y_l)),   z(h) = respond(sum over choices of h of log sigmoid(...))

Person h (column `person` [P], from 0) belongs to group u with responsibility z_u(h). A round of `round_steps` steps
gathers everyone's log-likelihoods, then responsibilities follow. The head says K numbers. Mean over pairs.

Differs from the paper: rewards are K numbers of one trunk where it has K models, and the log-likelihoods are those of
the steps of a round, the model moving meanwhile, where it makes a pass of its own over the data between rounds.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import scoring, types
from posttrain_jax.losses import link, mixture
from posttrain_jax.recipes.preference import column, pair
from posttrain_jax.recipes.reward_model import scored


@dataclasses.dataclass(frozen=True)
class MixtureBradleyTerry:
    """Expectation maximisation over who is of which mind."""

    people: int
    """H."""
    groups: int
    """K, the numbers that the head says; the paper takes 2."""
    round_steps: int
    """Steps of a round: as many as one pass over the data."""
    respond: mixture.Assignment = mixture.hard
    """`mixture.hard`, the paper's, or `mixture.soft`."""

    @property
    def needs_ref(self) -> bool:
        """Never."""
        return False

    def init_memory(self) -> dict[str, Array]:
        """Person h with reward h mod K, nothing known yet."""
        none = jnp.zeros((self.people, self.groups))
        return {"minds": mixture.dealt(self.people, self.groups), "evidence": none, "step": jnp.int32(0)}

    def credit(
        self, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup, memory: Any
    ) -> tuple[types.PreferenceBatch, Any]:
        """Every pair counts alike; one with an empty completion does not count."""
        people = column.take(self, columns, "person").astype(jnp.int32)
        batch, minds = pair.credit(self, groups, None), memory["minds"]
        said: Any = lookup.policy(groups)
        chosen, rejected = scored.pair(said, batch)
        found = mixture.evidence(chosen - rejected, people, batch.pair_weights > 0, size=self.people)
        evidence, step = memory["evidence"] + found, memory["step"] + 1
        told = self.respond(evidence, jnp.mean(minds, axis=0))
        told = jnp.where(jnp.any(evidence != 0, axis=1, keepdims=True), told, minds)  # who said nothing stays
        over = step % self.round_steps == 0
        after = {"minds": jnp.where(over, told, minds), "evidence": jnp.where(over, 0, evidence), "step": step}
        return dataclasses.replace(batch, extra={"minds": minds[people]}), after

    def loss(self, policy: scoring.Scores, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = scored.pair(policy, batch)
        minds = jax.lax.stop_gradient(batch.extra["minds"])
        losses = jnp.sum(minds * link.logistic(chosen - rejected), axis=-1)
        report = scored.report(jnp.sum(minds * chosen, axis=-1), jnp.sum(minds * rejected, axis=-1))
        return jnp.sum(batch.pair_weights * losses), report
