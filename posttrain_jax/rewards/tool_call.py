"""Are the tools that a completion calls, and the arguments it gives them, the right ones?"""

import collections
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from posttrain_jax.rewards import json_value
from posttrain_jax.rewards import sample as samples


@dataclasses.dataclass(frozen=True)
class Call:
    """A tool's name and what it is given."""

    name: str
    arguments: Mapping[str, Any]


def _call(value: Any, arguments: str) -> Call | None:
    """The call that a JSON value describes; None where it describes none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        return None
    given = value.get(arguments, {})
    return Call(value["name"], given) if isinstance(given, Mapping) else None


@dataclasses.dataclass(frozen=True)
class TaggedCalls:
    """The calls between `<tool_call>` and `</tool_call>`, JSON objects of a name and arguments, in their order.

    A block holds one object, an array of them, or one on each line (Hermes and Qwen write one a block, ToolRL one a
    line). No block is no calls. None where anything is malformed: a tag without its other half, text that is no JSON,
    an object without a name, an empty block.
    """

    arguments: str = "arguments"
    """The key of the arguments; ToolRL's data have "parameters". An object without it gives none."""

    def __call__(self, text: str) -> list[Call] | None:
        """The calls of `text`."""
        calls: list[Call | None] = []
        _, *blocks = text.split("<tool_call>")
        if text.count("</tool_call>") != len(blocks):
            return None
        for block in blocks:
            content, end, _ = block.partition("</tool_call>")
            calls += [_call(value, self.arguments) for value in _values(content)] if end else [None]
        return None if None in calls else [call for call in calls if call is not None]


def _values(content: str) -> Sequence[Any]:
    """The JSON values of a block, `ABSENT` among them where there is something else."""
    whole = json_value.parse(content)
    if whole is json_value.ABSENT:
        return [json_value.parse(line) for line in content.strip().splitlines()] or [json_value.ABSENT]
    return (whole or [json_value.ABSENT]) if isinstance(whole, list) else [whole]


def overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """|both| / |either|, counting what comes several times so often; 1 where both are empty."""
    one, two = collections.Counter(first), collections.Counter(second)
    return (one & two).total() / (one | two).total() if first or second else 1.0


def agreement(gold: Call, given: Call) -> float:
    """Overlap of the arguments' names, plus the number of gold arguments whose value is given; 0 of another tool."""
    if gold.name != given.name:
        return 0.0
    right = sum(
        key in given.arguments and json_value.canonical(given.arguments[key]) == json_value.canonical(value)
        for key, value in gold.arguments.items()
    )
    return overlap(list(gold.arguments), list(given.arguments)) + right


@dataclasses.dataclass(frozen=True)
class ToolCalls:
    """How far the calls are the gold calls: names, names of arguments, values of arguments.

    r = (N + sum_j m_j) / (1 + sum_j (1 + k_j)) in [0, 1], with N the overlap of the tools' names, k_j the arguments of
    gold call j, and m_j its `agreement` with the best call of the same tool that no earlier gold call took. The order
    of calls does not matter; values are compared as JSON. Malformed calls score 0; without gold calls the reward is 1
    where none is made, else 0.

    Differs from the paper: it has 6 r - 3, and speaks of the best assignment where its code, as this one, takes gold
    calls in turn; its code gives 0 of [-3, 3] to everything where there are no gold calls.

    Source: ToolRL (Qian et al. 2025, arXiv:2504.13958, section 3.3) and its code, `rlla.py`.
    """

    calls: Callable[[str], Sequence[Call] | None] = TaggedCalls()
    """From the completion to its calls; None where they are malformed."""
    gold_field: str = "calls"
    """In the example: mappings of `name` and `arguments`, or JSON text of an array of them."""

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1]."""
        golds = self._golds(sample)
        given = self.calls(sample.completion)
        if given is None:
            return 0.0
        if not golds:
            return float(not given)
        left = list(given)
        score = overlap([call.name for call in golds], [call.name for call in given])
        for gold in golds:
            values = [agreement(gold, call) for call in left]
            if values and max(values) > 0:
                score += max(values)
                del left[values.index(max(values))]
        return score / (1 + sum(1 + len(gold.arguments) for gold in golds))

    def _golds(self, sample: samples.Sample) -> list[Call]:
        found = samples.field(sample, self.gold_field)
        values = json_value.parse(found) if isinstance(found, str) else found
        golds = [_call(value, "arguments") for value in values] if isinstance(values, list | tuple) else [None]
        if None in golds:
            raise ValueError(
                f"the example's {self.gold_field} is no list of calls with name and arguments: {found!r:.80}"
            )
        return [gold for gold in golds if gold is not None]
