"""The JSON files of a Hugging Face folder, each of which holds one object."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Types = Mapping[str, tuple[tuple[type, ...], tuple[str, ...]]]
"""By their name, types of Python and the keys that hold them, or null."""


def read(path: Path) -> dict[str, Any]:
    """The entries of one.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is no whole JSON object.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"{path} does not exist; give the folder of a Hugging Face model.") from error
    except ValueError as error:  # of JSON, or of UTF-8
        raise ValueError(f"{path} is not whole JSON ({error}); fetch or write it again.") from error
    if not isinstance(entries, dict):
        raise ValueError(f"{path} must hold one JSON object, not a {type(entries).__name__}; fetch or write it again.")
    return entries


def check(told: str, entries: Mapping[str, Any], types: Types) -> None:
    """Refuse text for a number and the like, which would fail somewhere else, or mean the opposite ("false").

    Args:
        told: what holds the entries, in words.
        entries: keys and values; those that `types` does not name may hold anything.
        types: what the others must hold.

    Raises:
        ValueError: one holds something else.
    """
    for name, (allowed, keys) in types.items():
        for key in keys:
            value = entries.get(key)
            if value is not None and type(value) not in allowed:
                raise ValueError(f"{told} says {key} = {value!r}, which is no {name}: write it as one.")
