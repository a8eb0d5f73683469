"""The reference, frozen or moving, other fixed models, and the pass that scores completions under fixed parameters."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from posttrain_jax import comparison, types
from posttrain_jax.models import lora, platform, pretrained, tokenizer
from posttrain_jax.train import extragradient, update

RESERVED = frozenset({"policy", "ref", extragradient.AHEAD})
"""Roles that the loops fill themselves."""


def copy(params: PyTree) -> PyTree:
    """The same parameters in memory of their own: an update gives away the memory of those that it is given."""
    return jax.tree.map(jnp.copy, params)


def soup(several: Sequence[PyTree], shares: Sequence[float]) -> PyTree:
    """sum_k share_k params_k, in float32 and given back in the dtypes of the first: a reference, or where to start.

    SALSA takes the midpoint of two fine-tunings of one model as reference (`run_online(..., ref_params=soup(...))`) and
    starts at one of them. Of parameters with adapters, merge first: A and B would be averaged each by itself.

    Raises:
        ValueError: there is not a share for each, or they do not sum to 1.

    Source: Chegini et al. 2024 (SALSA, arXiv:2411.01798).
    """
    if len(several) != len(shares) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ValueError(f"{len(several)} models and shares {list(shares)}: give one for each, that sum to 1.")

    def one(*leaves: Array) -> Array:
        wide = [share * x.astype(jnp.float32) for share, x in zip(shares, leaves, strict=True)]
        return sum(wide[1:], wide[0]).astype(leaves[0].dtype)

    return jax.tree.map(one, *several)


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A model that the policy is compared with and that is not trained: a teacher of any width.

    On the policy's mesh it runs inside the update; on another (cut otherwise, or on other devices) as a program of its
    own, whose hidden states are moved (`train.elsewhere`).
    """

    model: update.Model
    params: PyTree
    tokenizer: tokenizer.Tokenizer
    """That the model was trained with: it must be the policy's."""


def read(recipe: types.Recipe, players: object = None) -> bool:
    """Whether the loss of `recipe`, or what the `players` draw, depends on the reference."""
    return recipe.needs_ref or isinstance(recipe, comparison.Comparing) or players is not None


def positions(model: Any, fixed: Mapping[str, Fixed]) -> int:
    """As many as the policy and all of these were made for."""
    models: list[Any] = [model, *(other.model for other in fixed.values())]
    return min(one.config.max_position for one in models)


def load(like: pretrained.Checkpoint, folders: Mapping[str, str]) -> dict[str, Fixed]:
    """Fixed models by role, from Hugging Face folders or hub names, in the precision and on the devices of `like`."""
    found = {role: dataclasses.replace(like, model=name, lora=None).load() for role, name in folders.items()}
    return {role: Fixed(one.model, one.params, one.tokenizer) for role, one in found.items()}


def make_score(
    model: update.Model,
    *,
    temperature: float = 1.0,
    comparisons: Mapping[str, comparison.Request] | None = None,
    fixed: Mapping[str, comparison.Asked] | None = None,
) -> Callable[..., types.TokenStats]:
    """`score(params, groups, kept_ids=None, fixed_params=None) -> TokenStats`, jitted: old, reference or teacher.

    Args:
        model: of the parameters.
        temperature: what sampling divided the logits by; every role is scored at the same.
        comparisons: divergences to compute as well, by name.
        fixed: the models that they are from, by role; `fixed_params` are their parameters.
    """
    others = fixed or {}

    def score(params, groups, kept_ids=None, fixed_params=None):
        logits = {role: other.logits((fixed_params or {})[role], groups) for role, other in others.items()}
        return model.token_stats(
            params, groups, temperature=temperature, kept_ids=kept_ids, comparisons=comparisons, fixed=logits
        )

    return platform.jit(model.mesh, out_shardings=model.row_sharding)(score)


@dataclasses.dataclass(frozen=True)
class Moving:
    """A reference that follows the policy: ref <- (1 - share) ref + share policy, every so many steps.

    Share 1 is a hard replacement, a small share every step an exponential moving average. Averages are in float32.
    Of a model with adapters these move, A and B each by itself.
    Source: Gorbatovski et al. 2024, "Learn Your Reference Model for Real Good Alignment", arXiv:2404.09656 (TR-DPO).
    """

    share: float
    """Of the policy in the new reference (alpha)."""
    every: int = 1
    """Steps between two moves (tau)."""

    def __post_init__(self) -> None:
        """Refuse a reference that would stand still or run away."""
        if not 0 < self.share <= 1:
            raise ValueError(f"share={self.share} of the policy is no average: choose it above 0 and at most 1.")
        if self.every < 1:
            raise ValueError(f"every={self.every} steps never come: move the reference every step (1) or more rarely.")

    def follow(self, ref_params: PyTree, params: PyTree, step: int) -> PyTree:
        """The reference after `step`; the memory of `ref_params` is given away."""
        if self.share == 1 and step % self.every == 0:  # exactly, where the average would round
            return copy(params)
        return _follow(ref_params, params, jnp.float32(self.share)) if step % self.every == 0 else ref_params


def start(moving: Moving | None, params: PyTree, given: PyTree | None) -> PyTree:
    """The reference that is given, else the run's own start: without adapters, unless it is to move with them."""
    own = lora.base(params) if moving is None else params
    return own if given is None else given


class Reference:
    """The reference of a run and other versions of its policy: their parameters now, and how they move."""

    def __init__(
        self,
        moving: Moving | None,
        params: PyTree,
        versions: Mapping[str, Moving] | None = None,
        policy: PyTree | None = None,
        *,
        read: bool = True,
    ):
        """Begin with `params`, which are copied where they will move: a base under adapters is not.

        Args:
            moving: how the reference follows the policy; None where it stands still.
            params: the reference's.
            versions: how others follow it, by role: the policy of some steps ago, its average.
            policy: what they begin with.
            read: whether anything of the run depends on the reference.
        """
        self._moving = moving
        moved, self._frozen = lora.split(params)
        self.params = params if moving is None else lora.join(copy(moved), self._frozen)
        trained, self._base = lora.split(policy)
        self._versions = {role: (rule, copy(trained)) for role, rule in (versions or {}).items()}
        self._read = read

    @property
    def still(self) -> PyTree:
        """What no checkpoint holds, and a run must find again as it was to go on: a reference that stands still."""
        return self.params if self._read and self._moving is None else {}

    @property
    def versions(self) -> dict[str, PyTree]:
        """Parameters of the other versions, by role."""
        return {role: lora.join(params, self._base) for role, (_, params) in self._versions.items()}

    def saved(self) -> PyTree | None:
        """What a checkpoint must hold: nothing of a reference that stands still."""
        return self._packed(lora.split(self.params)[0], {role: params for role, (_, params) in self._versions.items()})

    def abstract(self, trained: PyTree) -> PyTree | None:
        """What `saved` gives, as shapes: all of it is like the parameters that are trained."""
        return self._packed(trained, dict.fromkeys(self._versions, trained))

    def restore(self, saved: PyTree | None) -> None:
        """Go on from what `saved` gave."""
        if saved is None:
            return
        ref = saved.get("ref") if self._versions else saved
        self.params = self.params if self._moving is None else lora.join(ref, self._frozen)
        self._versions = {role: (rule, saved[role]) for role, (rule, _) in self._versions.items()}

    def follow(self, policy: PyTree, step: int) -> None:
        """Move, if it is time, after `step`."""
        if self._moving is not None:
            moved = self._moving.follow(lora.split(self.params)[0], policy, step)
            self.params = lora.join(moved, self._frozen)
        for role, (rule, params) in self._versions.items():
            self._versions[role] = rule, rule.follow(params, policy, step)

    def _packed(self, ref: PyTree, versions: dict[str, PyTree]) -> PyTree | None:
        moved = None if self._moving is None else ref
        return versions | ({} if moved is None else {"ref": moved}) if versions else moved


@functools.partial(jax.jit, donate_argnums=0)
def _follow(ref_params: PyTree, params: PyTree, share: Float[Array, ""]) -> PyTree:
    def one(ref, new):
        return (ref + share * (new.astype(jnp.float32) - ref.astype(jnp.float32))).astype(ref.dtype)

    with jax.numpy_dtype_promotion("standard"):
        return jax.tree.map(one, ref_params, params)
