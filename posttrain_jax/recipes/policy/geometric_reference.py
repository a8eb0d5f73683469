"""A reference between two models (the mixture of Nash-MD: Munos et al. 2023, arXiv:2312.00886; textbook algebra).

    mu(y | s) = pi_1(y | s)^a ref(y | s)^(1 - a) / Z(s),   log Z = log(1 + a (a - 1) D_a(pi_1 || ref))

pi_1 is any model that the loop knows by a role: a version of the policy (its average, some steps ago), a teacher, or
the policy as it is. D_a is the alpha divergence of order a, exact over the vocabulary; it comes out of the head's own
pass, so that the mixture's log-probabilities are exact token by token. What the recipe held does with `ref` it then
does with mu: penalties, and comparisons of its loss, which is the recipe's own, and so is its expected gradient. The
mixture's entropy is not computed.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from posttrain_jax import comparison, types
from posttrain_jax.losses import extrapolation, generator, power
from posttrain_jax.recipes import asked, nested


@dataclasses.dataclass(frozen=True)
class GeometricReference:
    """Any online recipe, whose reference is a mixture of two models."""

    recipe: types.OnlineRecipe | types.InformedOnline
    """What is held to the mixture."""
    role: str
    """Of pi_1: `Online.versions` or `Online.fixed` name it, or "policy"."""
    share: float
    """Of pi_1 in the mixture (a), between 0 and 1."""

    def __post_init__(self):
        generator.check_share("share", self.share)

    @property
    def needs_ref(self) -> bool:
        """As the recipe does."""
        return self.recipe.needs_ref

    def init_memory(self) -> Any:
        """As the recipe's."""
        return nested.init_memory(self.recipe)

    def comparisons(self, batch: Any) -> Mapping[str, comparison.Request]:
        """The recipe's, the mixture in the place of the reference."""
        asks = self.recipe.comparisons(batch) if isinstance(self.recipe, comparison.Comparing) else {}
        return {name: self._mixed(one) for name, one in asks.items()}

    def credit(
        self, rollout: types.Rollout, rewards: Float[Array, "P G"], columns: Mapping, lookup: types.Lookup, memory: Any
    ) -> tuple[Any, Any]:
        """The recipe's, which finds the mixture where it looks for the reference."""
        mixed = dataclasses.replace(lookup, ref=functools.partial(self._ref, lookup))
        return nested.credit(self.recipe, rollout, rewards, columns, mixed, memory)

    def loss(self, policy: types.TokenStats, batch: Any) -> tuple[Float[Array, ""], types.Metrics]:
        """The recipe's."""
        return self.recipe.loss(policy, batch)

    def _ref(self, lookup: types.Lookup, groups: types.Groups, kept_ids: Any = None) -> types.TokenStats:
        between = {"d": comparison.Comparison(power.Alpha(self.share), {"ref": 1.0})}
        one = asked.model(self, lookup, self.role)(groups, kept_ids, comparisons=between)
        logps = extrapolation.between(one.logps, lookup.ref(groups, kept_ids).logps, one.divergences["d"], self.share)
        mask = groups.completion_mask
        return types.TokenStats(jnp.where(mask, logps, 0), jnp.where(mask, jnp.nan, 0))

    def _mixed(self, one: comparison.Request) -> comparison.Request:
        if not isinstance(one, comparison.Comparison) or "ref" not in one.logits:
            return one
        ref, own = one.logits["ref"], one.logits.get(self.role, 0.0)
        parts = {"ref": (1 - self.share) * ref, self.role: own + self.share * ref}
        return dataclasses.replace(one, logits={**one.logits, **parts})
