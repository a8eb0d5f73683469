"""What an environment is: a function from what was said so far to its reply. No model, no tokens, no arrays.

question -> turn of the policy -> reply -> turn -> reply -> ... -> turn that the environment does not reply to
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from posttrain_jax.rewards import sample


@dataclasses.dataclass(frozen=True)
class Reply:
    """What the environment says to a turn, and thinks of it."""

    text: str | None
    """What the policy reads next; None ends the dialogue (the turn was its answer)."""
    reward: float = math.nan
    """Of the turn, for methods that credit turns; NaN where nothing is told."""
    state: str | None = None
    """What the next turn is chosen from; turns of a prompt that meet equal states are compared. None: the reply."""
    calls: int = 0
    """Tool calls that the turn made."""
    errors: int = 0
    """Of these, how many failed."""
    memory: Any = None
    """Whatever the environment wants to find in the next `Dialogue`: picklable, and never shown to the policy."""


@dataclasses.dataclass(frozen=True)
class Dialogue:
    """A completion so far."""

    example: Mapping[str, Any]
    """The row of the data set that the prompt came from."""
    turns: tuple[sample.Turn, ...]
    """What was said, in order; the last one waits for its reply."""
    memory: Any = None
    """That of the last reply; None before the first."""


def end(asked: Dialogue) -> Reply:
    """An environment that never replies: completions are one turn each, as in Step-GRPO (`rollout.rehearsal`)."""
    return Reply(None, memory=asked.memory)


@runtime_checkable
class Environment(Protocol):
    """Replies to turns.

    A pure function: what it remembers travels in `memory`, so that the completions of a prompt meet the same world, any
    worker may answer, and a run that goes on meets it again. It must be picklable, as rewards are. An exception becomes
    the reply that the policy reads.
    """

    def __call__(self, dialogue: Dialogue, /) -> Reply:
        """The reply to the last turn."""
        ...
