"""Which collectives a compiled program holds, and which of them run inside a loop."""

import dataclasses
import math
import re

KINDS = "all-gather|all-reduce|reduce-scatter|all-to-all|ragged-all-to-all|collective-permute|collective-broadcast"


@dataclasses.dataclass(frozen=True)
class Collective:
    kind: str
    shape: tuple[int, ...]
    loops: frozenset[str]
    """The computations that run repeatedly with it inside: every while body around it."""


def collectives(text):
    """Every array that crosses devices in the compiled `text`."""
    calls, found, name = {}, [], None
    for line in text.splitlines():
        if header := re.match(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$", line):
            name = header.group(1)
            calls[name] = set()
        elif name is not None:
            calls[name].update(
                re.findall(r"(?:body|condition|to_apply|calls|branch_computations)=\{?%?([\w.\-]+)", line)
            )
            if hit := re.search(rf"= (.*?) ({KINDS})(?:-start)?\(", line):
                for dims in re.findall(r"\w+\[([\d,]*)\]", hit.group(1)):
                    found.append((hit.group(2), tuple(int(d) for d in dims.split(",") if d), name))
    inside = {loop: _reachable(loop, calls) for loop in re.findall(r"body=%?([\w.\-]+)", text)}
    return [
        Collective(kind, shape, frozenset(loop for loop, names in inside.items() if name in names))
        for kind, shape, name in found
    ]


def _reachable(start, calls):
    seen, todo = {start}, [start]
    while todo:
        fresh = calls[todo.pop()] - seen
        seen |= fresh
        todo += fresh
    return seen


def size(collective):
    return math.prod(collective.shape)
