"""Recipes within recipes: what the loops ask of one that another holds."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from posttrain_jax import arrangement, comparison


@runtime_checkable
class Following(Protocol):
    """An informed recipe whose credit follows the policy from update to update on a rollout, not only to the first."""

    @property
    def credits_anew(self) -> bool:
        """Whether the loop credits again before each further update; memory and `old_logps` stay the rollout's."""
        ...


@runtime_checkable
class Correcting(Protocol):
    """A recipe that weighs completions by how far the policy lies from what sampled them."""

    @property
    def corrects_sampler(self) -> bool:
        """Whether it does."""
        ...


def within(recipe: Any) -> Iterator[Any]:
    """The recipe, and those that it holds, from the outermost on."""
    yield recipe
    while isinstance(recipe, arrangement.Holding):
        recipe = recipe.recipe
        yield recipe


def follows(recipe: Any) -> bool:
    """Whether the recipe, or one that it holds, is to be credited before every update on a rollout."""
    return any(isinstance(one, Following) and one.credits_anew for one in within(recipe))


def check(recipe: Any) -> None:
    """Refuse a recipe that holds one whose comparisons with other models it does not hand on."""
    comparing = [type(one).__name__ for one in within(recipe) if isinstance(one, comparison.Comparing)]
    if comparing and not isinstance(recipe, comparison.Comparing):
        raise ValueError(
            f"{type(recipe).__name__} does not hand on what {comparing[0]} compares the policy with: train"
            f" {comparing[0]} by itself, or hold a recipe that compares with nothing."
        )
