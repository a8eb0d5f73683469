"""T-REG: token-level reward regularization (Zhou et al. 2024, arXiv:2412.02685), around DPO.

    L = -log sigmoid(m) - alpha sg(sigmoid(-m)) beta sum_t r_t log pi(y_t), over both completions;   m as in DPO
    r_t = sigmoid(log pi_ref(y_t|x_better) - log pi_ref(y_t|x_worse)) - 1/2

The reference itself says which tokens are good: x_better and x_worse show it the answer and ask to rewrite it better or
worse (`context.contrast`); they are the columns `better_prompt` and `worse_prompt`, a prompt for every completion. r_t
has no gradient and carries the sign, so that the sum runs over chosen and rejected alike; where it is negative nothing
bounds the push. The weight sigmoid(-m) is that of DPO's gradient, without gradient itself, and fades as the margin
grows: with 1 in its place most of the gain is lost. alpha = 0, or equal prompts, is DPO.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import masked, types
from posttrain_jax.losses import link
from posttrain_jax.recipes.preference import column, foreseen, pair, setting


@dataclasses.dataclass(frozen=True)
class TREG:
    """DPO, and likelihood of each token as good as the reference finds it."""

    beta: float = 0.1
    """How dear it is to leave the reference (beta), per nat."""
    regularization: float = 0.25
    """Weight of the tokens' likelihood (alpha): 0.1, 0.25 or 0.5 in the paper."""

    def __post_init__(self):
        setting.check_beta(self.beta)
        setting.check_coefficient("regularization", self.regularization)

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
        """Every pair counts alike; token rewards from two passes of the reference more."""
        batch = pair.credit(self, groups, lookup.ref(groups).logps)
        return dataclasses.replace(batch, extra={"token_rewards": ask(self, groups, columns, lookup)}), memory

    def loss(self, policy: types.TokenStats, batch: types.PreferenceBatch) -> tuple[Float[Array, ""], types.Metrics]:
        """The equation above."""
        chosen, rejected = (self.beta * x for x in pair.log_ratio_sums(self, policy, batch))
        rewards = jax.lax.stop_gradient(foreseen.extra(self, batch, "token_rewards"))
        pushed = masked.total(self.beta * rewards * policy.logps, batch.completion_mask, axis=(1, 2))
        fading = jax.lax.stop_gradient(jax.nn.sigmoid(rejected - chosen))
        losses = link.logistic(chosen - rejected) - self.regularization * fading * pushed
        return jnp.sum(batch.pair_weights * losses), pair.report(chosen, rejected)


def ask(recipe: Any, groups: types.Groups, columns: Mapping[str, Array], lookup: types.Lookup) -> Float[Array, "P K T"]:
    """The `token_rewards` of two passes of the reference."""
    better, worse = (
        lookup.ref(column.apart(recipe, columns, name, groups)).logps.reshape(groups.completion_mask.shape)
        for name in ("better_prompt", "worse_prompt")
    )
    return token_rewards(better, worse)


def token_rewards(better_logps: Float[Array, "P K T"], worse_logps: Float[Array, "P K T"]) -> Float[Array, "P K T"]:
    """r_t, in (-1/2, 1/2), from the log-probabilities of the tokens after the two prompts."""
    return jax.nn.sigmoid(better_logps - worse_logps) - 0.5
