"""Updates in two steps for games: one that only shows where the policy would go, and one from the same place for good.

    step 1: ahead = theta + change(gradient against the opponent at theta);   theta and the optimizer's state stay
    step 2: theta = theta + change(gradient against the opponent at ahead)

Both gradients are taken at theta, and both changes begin from the same state of the optimizer: that is exact with
moments and schedules too, where taking a step back by the opposite gradient is not. Of a game's gradients only the
opponent's side is one step on. Source: Zhou et al. 2025 (EGPO, arXiv:2503.08942).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, PyTree

AHEAD = "ahead"
"""The role of those parameters, in `player.Players`."""


class State(NamedTuple):
    """Of the optimizer; saved and restored with it."""

    inner: PyTree
    """Of the optimizer within: as after the last whole update."""
    ahead: PyTree
    """Parameters that the opponent has in the next step: after step 1 those it shows, after step 2 the policy's."""
    looks: Bool[Array, ""]
    """Whether the next step is the first of its two."""


@dataclasses.dataclass(frozen=True)
class Update:
    """The `update` of the optimizer, which can be printed."""

    inner: Callable[..., Any]

    def __call__(self, updates: PyTree, state: Any, params: PyTree | None = None) -> tuple[PyTree, State]:
        """See `optax.TransformUpdateFn`."""
        if params is None:
            raise ValueError("an extragradient step shows where the parameters would be: pass params.")
        changes, inner = self.inner(updates, state.inner, params)
        moved = optax.apply_updates(params, changes)
        inner = jax.tree.map(lambda new, old: jnp.where(state.looks, old, new), inner, state.inner)
        changes = jax.tree.map(lambda x: jnp.where(state.looks, jnp.zeros_like(x), x), changes)
        ahead = jax.tree.map(lambda new, old: new.astype(old.dtype), moved, state.ahead)
        return changes, State(inner, ahead, ~state.looks)


def make_extragradient(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """`inner`, moving at every second step only; see the module. A run counts every step, `inner` the second ones."""

    def init(params: PyTree) -> State:
        return State(inner.init(params), jax.tree.map(jnp.copy, params), jnp.bool_(True))

    return optax.GradientTransformation(init, Update(inner.update))


def opponent(opt_state: PyTree, params: PyTree) -> PyTree:
    """The opponent's parameters in the next step, in the dtypes of the policy's `params`.

    Raises:
        ValueError: the optimizer was not made by `make_extragradient`.
    """
    if not isinstance(opt_state, State):
        raise ValueError(f"the role {AHEAD!r} needs an optimizer of extragradient.make_extragradient.")
    return jax.tree.map(lambda x, like: x.astype(like.dtype), opt_state.ahead, params)
