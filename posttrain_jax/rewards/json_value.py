"""Rewards of answers written in JSON: is it JSON, does it have the form that was asked for, are its entries right?

Each is a reward of its own, so that steps towards a right answer are weights of a sum:
`WeightedRewards({"json": (0.2, Parses()), "schema": (0.3, Valid(schema)), "entries": (0.5, Entries())})`.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples

ABSENT = object()
"""No JSON: None is a value of it (null)."""

TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
CHECKED = {"type", "enum", "properties", "required", "additionalProperties", "items"}
DEEPEST = 100
"""Levels of arrays and objects that are read: completions may be hostile, and walking a value recurses."""

SAID = {"$schema", "$id", "title", "description", "default", "examples", "$comment"}
"""Keywords that tell people something and forbid nothing."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def parse(text: str | None) -> Any:
    """The value of JSON text, white space around it aside; `ABSENT` where the text as a whole is not JSON (RFC 8259).

    Python's NaN and Infinity are not JSON. Values nested more than `DEEPEST` levels deep, and numbers of more digits
    than Python reads, count as none.
    """
    if text is None:
        return ABSENT
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return ABSENT
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [entry for node in level for entry in _entries(node)]
    return ABSENT if level else value


def _entries(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def canonical(value: Any) -> Any:
    """A hashable form of a JSON value, equal for equal values: 1 is 1.0 and not true, and keys have no order."""
    if isinstance(value, Mapping):
        return ("object", frozenset((key, canonical(entry)) for key, entry in value.items()))
    if isinstance(value, list | tuple):
        return ("array", tuple(canonical(entry) for entry in value))
    return ("boolean" if isinstance(value, bool) else "value", value)


def kinds(value: Any) -> set[str]:
    """The types, as a schema names them, that a JSON value has: 1.0 is an integer too."""
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int() | float():
            whole = isinstance(value, int) or value.is_integer()
            return {"number", "integer"} if whole else {"number"}
        case str():
            return {"string"}
        case list():
            return {"array"}
    return {"object"}


def refuse_unknown(schema: Any) -> None:
    """Refuse a schema that says more than is checked here: what is not checked would pass."""
    if not isinstance(schema, Mapping):
        raise ValueError(f"a schema is a mapping of keywords, not {schema!r:.80}.")
    unknown = set(schema) - CHECKED - SAID
    if unknown:
        raise ValueError(
            f"the schema's {', '.join(sorted(unknown))} is not checked here: use {', '.join(sorted(CHECKED))}, or a "
            "reward of your own."
        )
    named = schema.get("type", [])
    wrong = set([named] if isinstance(named, str) else named) - set(TYPES)
    if wrong:
        raise ValueError(f"the schema's type {', '.join(sorted(wrong))} is none of {', '.join(TYPES)}.")
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    extra = schema.get("additionalProperties", True)
    for part in [*inner, *([] if isinstance(extra, bool) else [extra])]:
        refuse_unknown(part)


def meets(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a JSON value meets the schema; keywords for objects say nothing of other values, nor those for arrays."""
    named = schema.get("type", TYPES)
    if kinds(value).isdisjoint([named] if isinstance(named, str) else named):
        return False
    if "enum" in schema and canonical(value) not in [canonical(choice) for choice in schema["enum"]]:
        return False
    if isinstance(value, dict):
        return _object_meets(value, schema)
    return not isinstance(value, list) or all(meets(entry, schema.get("items", {})) for entry in value)


def _object_meets(value: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    if not set(schema.get("required", [])) <= set(value):
        return False
    properties, extra = schema.get("properties", {}), schema.get("additionalProperties", True)
    if extra is False and not set(value) <= set(properties):
        return False
    others = {} if isinstance(extra, bool) else extra
    return all(meets(entry, properties.get(key, others)) for key, entry in value.items())


@dataclasses.dataclass(frozen=True)
class Parses:
    """1 where what is extracted is JSON and nothing else, else 0."""

    extract: extracts.Extract = extracts.whole
    """`extract.LastFence("json")` reads a fenced block."""

    def __call__(self, sample: samples.Sample) -> float:
        """1 or 0."""
        return float(parse(self.extract(sample.completion)) is not ABSENT)


@dataclasses.dataclass(frozen=True)
class Valid:
    """1 where what is extracted is JSON that meets the schema, else 0.

    Of JSON Schema these keywords are checked: type, enum, properties, required, additionalProperties, items. A schema
    with others is refused.

    Source: JSON Schema, draft 2020-12, for these keywords.
    """

    schema: Mapping[str, Any]
    extract: extracts.Extract = extracts.whole

    def __post_init__(self):
        """Refuse what could not be checked."""
        refuse_unknown(self.schema)

    def __call__(self, sample: samples.Sample) -> float:
        """1 or 0."""
        value = parse(self.extract(sample.completion))
        return float(value is not ABSENT and meets(value, self.schema))


@dataclasses.dataclass(frozen=True)
class Entries:
    """The share of right entries of an object: |entries in both| / |keys in either|; 0 where it is no JSON object.

    An entry is right where key and value are those of the gold object, values compared as JSON (1 equals 1.0, not
    true; keys have no order). Invented keys cost as much as missing ones. Gold without entries gives NaN.
    """

    extract: extracts.Extract = extracts.whole
    gold_field: str = "answer"
    """The gold object in the example, as a mapping or as JSON text."""

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1], or NaN."""
        gold = samples.field(sample, self.gold_field)
        gold = parse(gold) if isinstance(gold, str) else gold
        if not isinstance(gold, Mapping):
            raise ValueError(f"the example's {self.gold_field} is no JSON object: {gold!r:.80}")
        given = parse(self.extract(sample.completion))
        if not gold:
            return math.nan
        if not isinstance(given, dict):
            return 0.0
        right = sum(key in given and canonical(given[key]) == canonical(entry) for key, entry in gold.items())
        return right / len(set(gold) | set(given))
