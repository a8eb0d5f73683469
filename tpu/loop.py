"""How often each computation of a compiled program runs."""

import dataclasses
import re
from collections.abc import Mapping

import hlo

INSIDE = ("calls", "to_apply", "branch_computations", "called_computations")
"""Attributes that name what runs once for each time its caller does."""

PASSING = ("copy", "bitcast", "convert", "reshape", "copy-start", "copy-done", "optimization-barrier")


@dataclasses.dataclass(frozen=True)
class Runs:
    """How often a computation runs."""

    times: int
    """In one run of the program."""
    inside_loop: bool
    """Whether that is because of a loop."""
    scheduled: bool
    """Whether its instructions stand for themselves, rather than for a part of a fused one."""


@dataclasses.dataclass(frozen=True)
class Loop:
    """One `while`."""

    body: str
    trips: int
    exact: bool
    """False where data may end the loop earlier."""


def loops(program: hlo.Program) -> Mapping[str, Loop]:
    """Every loop by the name of its `while`.

    Raises:
        ValueError: the condition of a loop has a form that is not understood.
    """
    found = {}
    for computation in program.computations.values():
        for one in computation.instructions.values():
            if one.opcode == "while":
                trips, exact = _trips(program, computation, one)
                found[one.name] = Loop(one.called("body")[0], trips, exact)
    return found


def executions(program: hlo.Program) -> Mapping[str, Runs]:
    """How often each computation runs, loops as often as their condition lets them."""
    found, runs = loops(program), {}

    def visit(name: str, times: int, inside_loop: bool, scheduled: bool) -> None:
        before = runs.get(name, Runs(0, False, False))
        runs[name] = Runs(before.times + times, before.inside_loop or inside_loop, before.scheduled or scheduled)
        for one in program.computations[name].instructions.values():
            if one.opcode == "while":
                visit(found[one.name].body, times * found[one.name].trips, True, scheduled)
            for callee in one.called(*INSIDE):
                visit(callee, times, inside_loop, scheduled and one.opcode in ("call", "conditional"))

    visit(program.entry, 1, False, True)
    return runs


def _trips(program: hlo.Program, around: hlo.Computation, loop: hlo.Instruction) -> tuple[int, bool]:
    known = re.search(r'known_trip_count"?:\{"?n"?:"?(\d+)', loop.attributes)
    if known:
        return int(known.group(1)), True
    condition = program.computations[loop.called("condition")[0]]
    body = program.computations[loop.called("body")[0]]
    tests, exact = _comparisons(program, condition)
    bounds = []
    for index, limit in tests:
        first = _constant(around, around.operand(around.operand(loop, 0), index))
        step = _step(body, index)
        if first is not None and step:
            bounds.append(-(-(limit - first) // step))
    if not bounds:
        raise ValueError(f"loop {loop.name} counts in a way that is not understood: how often it runs is unknown.")
    return max(min(bounds), 0), exact


def _comparisons(program: hlo.Program, condition: hlo.Computation) -> tuple[list[tuple[int, int]], bool]:
    """`(index, limit)` for each test that element `index` of the carry is below `limit`; whether there is no other."""
    found, todo, parts = [], [(condition, condition.root)], 0
    while todo:
        where, one = todo.pop()
        if one.opcode == "and":
            todo += [(where, where.operand(one, i)) for i in range(2)]
        elif one.opcode in PASSING:
            todo.append((where, where.operand(one, 0)))
        elif one.opcode == "fusion":
            inner = program.computations[one.called("calls")[0]]
            todo.append((_inlined(inner, where, one), inner.root))
        else:
            parts += 1
            if one.opcode == "compare" and one.attribute("direction") == "LT":
                left, right = (_origin(where, where.operand(one, i)) for i in range(2))
                limit = _constant(where, right)
                if left.opcode == "get-tuple-element" and limit is not None:
                    found.append((int(left.attribute("index") or 0), limit))
    return found, len(found) == parts == 1


def _inlined(inner: hlo.Computation, outer: hlo.Computation, call: hlo.Instruction) -> hlo.Computation:
    """`inner` with its parameters replaced by the operands of `call`, beside everything of `outer`."""
    merged = dict(outer.instructions)
    for name, one in inner.instructions.items():
        given = call.operands[int(one.literal)] if one.opcode == "parameter" else None
        merged[name] = outer.instructions[given] if given else one
    return hlo.Computation(merged, inner.root)


def _origin(where: hlo.Computation, one: hlo.Instruction) -> hlo.Instruction:
    """Where a value comes from, behind copies and through tuples."""
    while True:
        if one.opcode in PASSING:
            one = where.operand(one, 0)
        elif one.opcode == "get-tuple-element" and where.operand(one, 0).opcode == "tuple":
            one = where.operand(where.operand(one, 0), int(one.attribute("index") or 0))
        else:
            return one


def _constant(where: hlo.Computation, one: hlo.Instruction) -> int | None:
    one = _origin(where, one)
    whole = one.opcode == "constant" and re.fullmatch(r"-?\d+", one.literal)
    return int(one.literal) if whole else None


def _step(body: hlo.Computation, index: int) -> int | None:
    """What the body adds to element `index` of the carry."""
    new = _origin(body, body.operand(body.root, index)) if body.root.opcode == "tuple" else None
    if new is None or new.opcode != "add":
        return None
    steps = [_constant(body, body.operand(new, i)) for i in range(2)]
    return next((step for step in steps if step is not None), None)
