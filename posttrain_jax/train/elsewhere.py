"""A teacher on another mesh: it runs as a program of its own there, and its hidden states are moved to the policy.

What is moved of a batch is `[P, G, T, D]` in the teacher's precision, and once for the run its head `[D, V]`, cut as
the policy's own is. The policy's head then compares with it as with a teacher on its own mesh, exactly and for every
recipe; no array `[tokens, V]` exists on either side. The hidden states lie over the rows of the policy's mesh until the
update is done, also where it has several micro-batches: D numbers a token.

Over several processes the teacher's mesh has devices of all of them: the same ones, cut otherwise, or others that share
rows and width out over the processes in the same order (`train.move`).
"""

import dataclasses
from collections.abc import Mapping

import jax
from jax.sharding import NamedSharding
from jaxtyping import Array, Float, Int, PyTree

from posttrain_jax import comparison, types
from posttrain_jax.models import actor_critic, language_model, platform, token_mask
from posttrain_jax.train import capacity, move, update


@dataclasses.dataclass(frozen=True)
class Visitor:
    """A model of another mesh as the programs of the policy's see it: its parameters are its `Logits`, moved over.

    Of these only what the head needs: the layers that masks are learned of are the reference's, which is at home.
    """

    host: language_model.LanguageModel
    """The policy's, whose head is used; nothing else of it."""

    def logits(self, params: comparison.Logits, groups: types.Groups) -> comparison.Logits:
        """They are known."""
        return params

    def token_stats(
        self,
        params: comparison.Logits,
        groups: types.Groups,
        *,
        temperature: float = 1.0,
        kept_ids: Int[Array, "P G T k"] | None = None,
        comparisons: Mapping[str, comparison.Request] | None = None,
        fixed: Mapping[str, comparison.Logits] | None = None,
    ) -> types.TokenStats:
        """What the model says of the completions' tokens, computed here."""
        more = {"kept_ids": kept_ids, "comparisons": comparisons, "fixed": fixed}
        return self.host.stats_of(params, groups, temperature=temperature, **more)


class Teacher:
    """`teacher(groups) -> Logits` on the policy's mesh, of a model that runs on its own."""

    def __init__(self, role: str, model: update.Model, params: PyTree, policy: update.Model):
        """Compile nothing yet.

        Args:
            role: for errors.
            model: the teacher's, on its mesh.
            params: its parameters there.
            policy: whose mesh the results go to.
        """
        plain = (
            policy.actor if isinstance(policy, actor_critic.Apart | actor_critic.Shared | token_mask.Masked) else policy
        )
        if not isinstance(plain, language_model.LanguageModel):
            raise ValueError(f"{role!r} lies on another mesh than the model, which says no words: leave it out.")
        move.check(role, model.mesh, plain.mesh)
        self.visitor = Visitor(plain)
        self._role, self._model, self._params, self._rows = role, model, params, plain.row_sharding
        self._columns = NamedSharding(plain.mesh, plain.rules.spec("head", stacked=False))
        self._weight: Array | None = None

        def hidden(params: PyTree, groups: types.Groups) -> Float[Array, "P G T D"]:
            return model.logits(params, groups).hidden

        def head(params: PyTree, groups: types.Groups) -> Float[Array, "D V"]:
            found = model.logits(params, groups)
            return found.weight.astype(found.hidden.dtype)

        compiled = platform.jit(model.mesh, out_shardings=model.row_sharding)(hidden)
        self._hidden = capacity.checked("the teacher's pass", compiled)
        self._head = jax.jit(head)

    def __call__(self, groups: types.Groups) -> comparison.Logits:
        """Hidden states of these completions, and the head.

        Raises:
            ValueError: the teacher's mesh cannot share the rows, or has them in other processes than the policy's.
        """
        rows, shards = len(groups.prompt_lengths), self._model.row_shards
        if rows % shards:
            raise ValueError(
                f"a batch of {rows} rows cannot be shared by the {shards} row shards (data x fsdp) of {self._role!r}:"
                f" use a multiple of {shards} rows, or a mesh with fewer shards of rows for it."
            )
        there = move.small(self._model.row_sharding, groups)
        hidden = move.to(self._rows, self._hidden(self._params, there))
        weight = self._weight
        if weight is None:
            self._weight = weight = move.to(self._columns, self._head(self._params, there))
        return comparison.Logits(hidden, weight)
