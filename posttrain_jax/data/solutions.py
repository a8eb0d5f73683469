"""Solutions whose steps are labelled: token rows with one completion, and the column `step_labels` for `ProcessReward`.

A step ends with the token that holds the separator, the last one with the completion: as `losses.step.Read` and
`Segmented` cut what a policy writes, with `ends=tokenizer.ending(separator)`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from posttrain_jax.data import column, fields, source
from posttrain_jax.data import encode as encoding


@dataclasses.dataclass(frozen=True)
class Solution:
    """A prompt, the steps of one completion, and of each how right it is."""

    prompt: fields.Prompt
    steps: Sequence[str]
    labels: Sequence[float | None]
    """From 0 to 1: a verdict, or the share of rollouts from there that succeed; None where nobody said."""


@dataclasses.dataclass(frozen=True)
class SolutionFields:
    """A prompt, a list of steps and a list of labels: true, false, a number from 0 to 1, or null."""

    prompt: fields.PromptFields = fields.PromptFields()
    steps: str = "completions"
    labels: str = "labels"

    def __call__(self, row: Mapping[str, Any]) -> Solution:
        """The row's solution.

        Raises:
            ValueError: not as many labels as steps, or one that is none.
        """
        steps, labels = fields.entry(row, self.steps), fields.entry(row, self.labels)
        if not (_listed(steps) and _listed(labels)) or not steps or len(steps) != len(labels):
            raise ValueError(f"fields {self.steps!r} and {self.labels!r} must be lists, a label for each step.")
        texts = [fields.text({self.steps: one}, self.steps) for one in steps]
        known = [None if one is None else self._label(one) for one in labels]
        return Solution(self.prompt(row), texts, known)

    def _label(self, value: Any) -> float:
        label = fields.number({self.labels: float(value) if isinstance(value, bool) else value}, self.labels)
        if not 0 <= label <= 1:
            raise ValueError(f"field {self.labels!r} holds {label}: a label is true, false or a number from 0 to 1.")
        return label


def encode(
    rows: source.Rows,
    read: Callable[[source.Row], Solution],
    tokenizer: encoding.Tokenizer,
    limits: encoding.Limits,
    *,
    separator: str = "\n",
    max_bad_fraction: float = 0.0,
) -> tuple[list[encoding.TokenRow], encoding.EncodeReport]:
    """Token rows of `rows`, and what was cut or left out.

    Args:
        rows: examples.
        read: from a row to its solution: `SolutionFields` or any function.
        tokenizer: of the model.
        limits: in tokens; the completion's is the width of the column. A step that is cut has no label, and a row
            without any is left out.
        separator: what stands between steps, and in none.
        max_bad_fraction: share of the rows that may be unfit and is left out and counted; with 0 the first is an error.
    """
    tally = encoding.Tally(limits, tokenizer)

    @functools.cache
    def ended(token: int) -> int:
        return tokenizer.decode([token]).count(separator)

    def make(index: int) -> encoding.TokenRow | None:
        example = read(rows[index])
        prompt, (ids,) = encoding.group(tokenizer, example.prompt, [separator.join(example.steps)])
        labels = _labels([ended(token) for token in ids], example.labels, separator)
        if np.isnan(labels[: limits.completion]).all():
            return tally.leave_out()
        row = tally.fit(index, prompt, [ids])
        if row is None:
            return None
        kept = row.completions[0]
        if list(kept) != ids[: len(kept)]:
            raise ValueError("labels of steps stand at their ends: cut completions behind, as keep_start does.")
        values = column.of_tokens([labels[: len(kept)]], limits.completion)
        return dataclasses.replace(row, columns={"step_labels": values})

    return tally.collect(rows, make, max_bad_fraction=max_bad_fraction)


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _labels(found: Sequence[int], labels: Sequence[float | None], separator: str) -> Float[np.ndarray, "T"]:
    """Each label at the last token of its step, NaN elsewhere."""
    ends = [place for place, count in enumerate(found) for _ in range(count)] + [len(found) - 1]
    if len(ends) != len(labels) or len(set(ends)) != len(ends):
        raise ValueError(
            f"{len(labels)} steps are cut into {len(set(ends))} by tokens with {separator!r}: no step may"
            " hold it, and the tokenizer must have a token that does."
        )
    values = np.full(len(found), np.nan, np.float32)
    values[ends] = [math.nan if label is None else label for label in labels]
    return values
