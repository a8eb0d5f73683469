"""What one run of a compiled program does on one chip: FLOPs, bytes of memory, bytes between chips."""

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence

import hlo
import loop

FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all"),
    *("partition-id", "replica-id", "iota", "copy-done", "opt-barrier"),
}
"""Instructions that move nothing, or whose insides are counted instead."""

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One instruction between chips."""

    kind: str
    bytes: float
    """That a chip sends in one run of the program, in a ring."""
    inside_loop: bool


@dataclasses.dataclass(frozen=True)
class Work:
    """Of one chip, in one run of the program."""

    flops: float
    """Of matrix products; two for each multiplication with its addition."""
    bytes: float
    """Read from and written to the chip's large memory."""
    collectives: tuple[Collective, ...]
    at_most: bool
    """Whether data may end a loop before its limit."""


def count(program: hlo.Program) -> Work:
    """The work of `program`, loops as often as they run; without what kernels (custom calls) compute inside."""
    flops, traffic, found = 0.0, 0.0, []
    for name, runs in loop.executions(program).items():
        computation = program.computations[name]
        for one in computation.instructions.values():
            flops += runs.times * _flops(computation, one)
            kind = one.opcode.removesuffix("-start")
            if kind in KINDS:
                found.append((_chain(one), Collective(kind, runs.times * _sent(kind, one), runs.inside_loop)))
            if runs.scheduled:
                traffic += runs.times * _traffic(program, computation, one)
    at_most = not all(one.exact for one in loop.loops(program).values())
    return Work(flops, traffic, tuple(_once(found)), at_most)


def _flops(where: hlo.Computation, one: hlo.Instruction) -> float:
    if one.opcode == "dot":
        left = where.operand(one, 0).results[0]
        contracted = re.findall(r"\d+", one.attribute("lhs_contracting_dims") or "")
        return 2 * math.prod(one.results[0].dims) * math.prod(left.dims[int(i)] for i in contracted)
    if one.opcode == "convolution":
        return _convolution(where, one)
    return 0


def _convolution(where: hlo.Computation, one: hlo.Instruction) -> float:
    """TPU programs write every matrix product so, batches as windows over a dilated input: zeros are not counted."""
    left, right = (where.operand(one, i).results[0].dims for i in range(2))
    dims = re.match(r"(\w+)_(\w+)->(\w+)", one.attribute("dim_labels") or "")
    assert dims is not None, f"{one.name} does not say what its dimensions are."
    given, kernel, result = dims.groups()
    output = one.results[0].dims
    pairs = 1
    for place, sign in enumerate(sign for sign in result if sign.isdigit()):
        window = _window(one, place)
        pairs *= _meetings(left[given.index(sign)], right[kernel.index(sign)], output[result.index(sign)], window)
    batch = output[result.index("b")] // int(one.attribute("batch_group_count") or 1)
    return 2 * pairs * batch * output[result.index("f")] * right[kernel.index("i")]


def _window(one: hlo.Instruction, place: int) -> dict[str, int]:
    """Stride, low padding and dilations of one spatial dimension."""
    text = one.attribute("window") or ""
    found = {"stride": 1, "pad": 0, "lhs_dilate": 1, "rhs_dilate": 1, "rhs_reversal": 0}
    for name in found:
        if part := re.search(rf"\b{name}=([\dx_\-]+)", text):
            found[name] = int(part.group(1).split("x")[place].split("_")[0])
    return found


def _meetings(given: int, kernel: int, output: int, window: dict[str, int]) -> int:
    """Pairs of output and kernel positions that meet an element of the input, and not padding or a dilation's zero."""
    step, last = window["lhs_dilate"], (given - 1) * window["lhs_dilate"]
    meets = 0
    for k in range(kernel):
        offset = k * window["rhs_dilate"] - window["pad"]
        first = max(0, -(offset // window["stride"]))
        positions = range(first, output)
        if step == 1:
            final = min(output - 1, (last - offset) // window["stride"])
            meets += max(0, final - first + 1)
        else:
            at = (out * window["stride"] + offset for out in positions)
            meets += sum(0 <= x <= last and x % step == 0 for x in at)
    return meets


def _chain(one: hlo.Instruction) -> str | None:
    """The name that parts of one collective share, where it is spread over fusions that hide it behind arithmetic."""
    chain = re.search(r'chain_id="(\d+)"', one.attributes)
    return f"{one.attribute('channel_id')} {chain.group(1)}" if chain else None


def _once(found: Sequence[tuple[str | None, Collective]]) -> Iterator[Collective]:
    """Each collective; of a chain the part that runs least often: every part shows the whole array."""
    chains: dict[str, Collective] = {}
    for chain, one in found:
        if chain is None:
            yield one
        elif chain not in chains or one.bytes < chains[chain].bytes:
            chains[chain] = one
    yield from chains.values()


def _sent(kind: str, one: hlo.Instruction) -> float:
    """Bytes that a chip sends, each ring over its group of n: gathers and scatters (n-1)/n, sums twice that."""
    results = one.results[1:2] if one.opcode.endswith("-start") and one.shape.startswith("(") else one.results
    size = sum(array.bytes for array in results)
    if kind == "collective-permute":
        return size
    n = _group(one.attributes)
    share = (n - 1) / n
    return size * {"all-reduce": 2 * share, "reduce-scatter": n - 1}.get(kind, share)


def _group(attributes: str) -> int:
    """Chips that take part together."""
    if found := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
        return int(found.group(1))
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return len(found.group(1).split(","))
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\].*?\{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", found.group(1)))
        axes = re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", found.group(2))
        return math.prod(int(part or sizes[name]) for name, part in axes)
    raise ValueError(f"the group of a collective is not understood: {attributes[:120]!r}.")


def _traffic(program: hlo.Program, where: hlo.Computation, one: hlo.Instruction) -> float:
    """Bytes of operands and results in the large memory; of slices only what is touched."""
    if one.opcode in FREE or one.opcode.endswith("-done"):
        return 0
    operands = [where.operand(one, i) for i in range(len(one.operands))]
    results = one.results[:1] if one.opcode == "copy-start" else one.results
    if one.opcode == "fusion":
        inner = program.computations[one.called("calls")[0]]
        return sum(_touched(program, inner, i, given.results) for i, given in enumerate(operands)) + _written(
            inner, results
        )
    if one.opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * _large(results)
    if one.opcode in ("dynamic-update-slice", "scatter"):
        return 2 * _large(operands[-1 if one.opcode == "scatter" else 1].results)
    return sum(_large(given.results) for given in operands) + _large(results)


def _touched(program: hlo.Program, inner: hlo.Computation, index: int, given: Sequence[hlo.Array]) -> float:
    """What a fusion reads of operand `index`: slices where all that it does is to slice."""
    whole = _large(given)
    name = next((n for n, x in inner.instructions.items() if x.opcode == "parameter" and int(x.literal) == index), None)
    return min(whole, _read(program, inner, name, whole)) if whole and name else 0


def _read(program: hlo.Program, inner: hlo.Computation, name: str, whole: float) -> float:
    """What the users of `name`, of `whole` bytes, read of it."""
    read = 0.0
    for user in (x for x in inner.instructions.values() if name in x.operands):
        first = user.operands[0] == name
        if user.opcode in ("dynamic-slice", "slice", "gather") and first:
            read += sum(array.bytes for array in user.results)
        elif user.opcode == "bitcast":
            read += _read(program, inner, user.name, whole)
        elif user.opcode == "fusion":
            nested = program.computations[user.called("calls")[0]]
            places = [i for i, operand in enumerate(user.operands) if operand == name]
            read += sum(_touched(program, nested, i, inner.instructions[name].results) for i in places)
        elif not (user.opcode == "dynamic-update-slice" and first):
            read += whole
    return read


def _written(inner: hlo.Computation, results: Sequence[hlo.Array]) -> float:
    """What a fusion writes: an update's slice, where its result is an array that was updated in place."""
    roots = [inner.root]
    if inner.root.opcode == "tuple":
        roots = [inner.operand(inner.root, i) for i in range(len(inner.root.operands))]
    return sum(_slice_or_all(inner, root, result) for root, result in zip(roots, results, strict=False))


def _slice_or_all(inner: hlo.Computation, root: hlo.Instruction, result: hlo.Array) -> float:
    while root.opcode in ("bitcast", "copy", "convert"):
        root = inner.operand(root, 0)
    if root.opcode == "dynamic-update-slice" and _large([result]):
        return _large(inner.operand(root, 1).results)
    return _large([result])


def _large(arrays: Sequence[hlo.Array]) -> float:
    return sum(array.bytes for array in arrays if array.space == 0)


def by_kind(collectives: Sequence[Collective]) -> Iterator[tuple[str, float, float]]:
    """Kind, bytes, and the bytes of it inside loops."""
    for kind in KINDS:
        of_kind = [one for one in collectives if one.kind == kind]
        if of_kind:
            inside = sum(one.bytes for one in of_kind if one.inside_loop)
            yield kind, sum(one.bytes for one in of_kind), inside
