"""Where the completions of a prompt come from, where they are not samples of the policy each of its own.

A recipe says in `arrangement` what it wants, and the online loop does so; `types.Rollout` tells what was done. The
order within a group: samples, greedy completions, given ones.
"""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int


@dataclasses.dataclass(frozen=True)
class Arrangement:
    """Of the G completions of a row: all drawn alone, unless told otherwise."""

    greedy: int = 0
    """How many of them, the last ones that are drawn, take the likeliest token each time."""
    given: int = 0
    """How many of them, the last ones, are not drawn: the data hold their tokens (`data.prompts.give`)."""
    rewarded: bool = True
    """Whether given ones have rewards too; without, theirs are NaN and nobody is asked."""
    splits: tuple[int, ...] = ()
    """Tokens before which every branch divides: completions of one branch share what comes before."""
    ways: int = 2
    """Branches that each divides into; with `splits`, G is ways to the power of their number."""
    guest: tuple[str, float] | None = None
    """The role of a fixed model, and how probably it draws a token in the policy's place: token by token anew."""

    def __post_init__(self):
        if self.guest is not None and not 0 < self.guest[1] < 1:
            raise ValueError(f"guest={self.guest} draws no token, or all: choose a probability between 0 and 1.")
        ascending = all(a < b for a, b in zip((-1, *self.splits), self.splits, strict=False))
        if self.greedy < 0 or self.given < 0 or self.ways < 2 or not ascending:
            raise ValueError(
                f"greedy={self.greedy} and given={self.given} must be 0 or more, ways={self.ways} at least 2, and"
                f" splits={self.splits} token positions from 0, in ascending order."
            )
        if (self.greedy or self.given or self.guest) and self.splits:
            raise ValueError("a tree of completions has no greedy, given or guest's ones: take either them or splits.")

    def check(self, group_size: int, length: int) -> None:
        """Refuse groups and completions that it does not fit.

        Raises:
            ValueError: no sample is left beside greedy and given completions, the tree has another number of leaves,
                or a split lies behind the length limit.
        """
        beside = self.greedy + self.given
        if beside >= group_size:
            raise ValueError(
                f"group_size={group_size} leaves no sample beside {self.greedy} greedy and {self.given} given"
                f" completion(s): take at least {beside + 1}."
            )
        leaves = self.ways ** len(self.splits)
        if self.splits and group_size != leaves:
            raise ValueError(
                f"{len(self.splits)} splits into {self.ways} make {leaves} completions of a prompt and group_size is"
                f" {group_size}: make them equal."
            )
        if self.splits and self.splits[-1] >= length:
            raise ValueError(
                f"a split before token {self.splits[-1]} lies behind the limit of {length} new tokens: move it ahead."
            )

    @property
    def drawn(self) -> "Arrangement":
        """Of the completions that the policy draws."""
        return dataclasses.replace(self, given=0)

    def likeliest(self, group_size: int) -> Bool[np.ndarray, "G"]:
        """Which completions take the likeliest tokens."""
        return np.arange(group_size) >= group_size - self.greedy

    def branches(self, group_size: int) -> Int[np.ndarray, "G D"]:
        """The number of the branch that each completion lies on, from each split to the next (`losses.tree`).

        Where the first split comes after tokens, what stands before it is a branch of all.
        """
        below = [self.ways**left for left in range(len(self.splits) - 1, -1, -1)]
        below = [group_size, *below] if self.splits[:1] != (0,) else below
        return np.arange(group_size)[:, None] // np.array(below)

    def edges(self, length: int) -> Int[np.ndarray, "T"]:
        """The branch that each token lies on: a column of `branches`."""
        starts = self.splits if self.splits[:1] == (0,) else (0, *self.splits)
        return np.searchsorted(np.array(starts), np.arange(length), side="right") - 1

    def leaders(self, group_size: int, length: int) -> Int[np.ndarray, "T G"]:
        """Whose token each completion takes: that of the first one on its branch."""
        own = np.arange(group_size)
        if not self.splits:
            return np.broadcast_to(own, (length, group_size))
        names = self.branches(group_size)[:, self.edges(length)]
        return np.argmax(names[:, None] == names[None, :], axis=1).T


ALONE = Arrangement()
"""Samples each of its own."""


@runtime_checkable
class Arranging(Protocol):
    """A recipe that wants completions that are not samples each of its own."""

    @property
    def arrangement(self) -> Arrangement:
        """How they are drawn."""
        ...


@runtime_checkable
class Holding(Protocol):
    """A recipe around another one."""

    @property
    def recipe(self) -> Any:
        """The one that is held."""
        ...


def of(recipe: object) -> Arrangement:
    """What the recipe wants, or one that it holds; samples each of its own where none says anything."""
    if isinstance(recipe, Arranging):
        return recipe.arrangement
    return of(recipe.recipe) if isinstance(recipe, Holding) else ALONE
