"""The guard of a loop: nothing is compiled again once a batch of the same padded shape (its bucket) has been seen."""

import threading
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import jax
from jaxtyping import PyTree

from posttrain_jax import types

TRACED = "/jax/core/compile/jaxpr_trace_duration"
"""What JAX reports whenever it traces a function, which is when it meets arguments of a form that it does not know."""


class Guard:
    """Counts what is traced between the beginning of a step and its `check`; use as a context manager."""

    def __init__(self) -> None:
        """Begin with no bucket seen."""
        self._known: dict[Any, dict[tuple, tuple]] = {}
        self._traced: list[str] = []
        self._thread = threading.get_ident()

    def __enter__(self) -> "Guard":
        """The guard, listening."""
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no longer."""
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **about: str | int) -> None:
        # a checkpoint that is written meanwhile, in a thread of its own, is no part of the step
        if event == TRACED and threading.get_ident() == self._thread:
            self._traced.append(str(about["fun_name"]))

    def steps(self, steps: Iterable[int]) -> Iterator[int]:
        """`steps`, forgetting before each what evaluations and checkpoints traced."""
        for step in steps:
            self._traced.clear()
            yield step

    def check(self, step: int, groups: types.Groups, arguments: PyTree) -> None:
        """Warn where the step compiled although an earlier one had the same bucket.

        Args:
            step: names the step.
            groups: of the batch; their shapes are the bucket.
            arguments: what the stages were given, or gave for the next step: what changed is looked for among them.
        """
        bucket = (groups.prompts.shape, groups.completions.shape)
        forms, before = {path: _form(x) for path, x in jax.tree.leaves_with_path(arguments)}, self._known.get(bucket)
        if self._traced and before is not None:
            changed = [path for path, form in forms.items() if before.get(path) != form]
            texts = [f"{_name(path)} was {_text(before.get(path))} and is {_text(forms[path])}" for path in changed[:3]]
            why = "; ".join(texts) or "not shape, dtype or sharding of the arguments, so a value that is compiled in"
            warnings.warn(
                f"step {step} compiled {', '.join(dict.fromkeys(self._traced))} again, though a batch of prompts"
                f" {list(bucket[0])} and completions {list(bucket[1])} had been seen. What changed: {why}.",
                RuntimeWarning,
                stacklevel=2,
            )
        self._known[bucket] = forms


def _form(x: Any) -> tuple:
    """What a compiled function depends on: shape and dtype, and where the array lies."""
    return jax.typeof(x), x.sharding


def _text(form: tuple | None) -> str:
    if form is None:
        return "not there"
    return f"{form[0]} on {form[1]}"


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")
