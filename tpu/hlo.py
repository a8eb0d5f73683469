"""Reading the text of a compiled program: its computations, their instructions, the arrays that these name."""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "f16": 2, "token": 0}
"""Of an element, where its type's name does not end in its number of bits."""

HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,]*)\](\{[^{}]*\})?")


@dataclasses.dataclass(frozen=True)
class Array:
    """One array: of an operand, or of a result."""

    dtype: str
    dims: tuple[int, ...]
    space: int
    """0 is the chip's large memory; others are on the core itself."""

    @property
    def bytes(self) -> float:
        """Without the padding of its layout."""
        bits = re.search(r"\d+$", self.dtype)
        width = BYTES[self.dtype] if self.dtype in BYTES else int(bits.group()) / 8 if bits else 1
        return math.prod(self.dims) * width


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation."""

    name: str
    shape: str
    """Of the result, as text; a tuple's in parentheses."""
    opcode: str
    operands: tuple[str, ...]
    """Names of instructions of the same computation."""
    attributes: str
    """What stands behind the operands."""
    literal: str
    """What stands in the operands' place: a constant's value, a parameter's number."""

    @property
    def results(self) -> tuple[Array, ...]:
        """The arrays it gives."""
        return tuple(arrays(self.shape))

    def attribute(self, name: str) -> str | None:
        """The word or `{...}` behind `name=`."""
        found = re.search(rf"\b{name}=(\{{[^{{}}]*\}}|[^\s,]+)", self.attributes)
        return found.group(1) if found else None

    def called(self, *names: str) -> tuple[str, ...]:
        """The computations behind these attributes."""
        found = [self.attribute(name) for name in names]
        return tuple(name for text in found if text for name in re.findall(r"[\w.\-]+", text))


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions in the order in which they run."""

    instructions: Mapping[str, Instruction]
    root: Instruction

    def operand(self, instruction: Instruction, index: int) -> Instruction:
        """The instruction that gives operand `index`."""
        return self.instructions[instruction.operands[index]]


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program."""

    computations: Mapping[str, Computation]
    entry: str


def parse(text: str) -> Program:
    """The program that `compiled.as_text()` shows.

    Raises:
        ValueError: the text holds no entry computation.
    """
    computations, entry, name = {}, None, None
    found: dict[str, Instruction] = {}
    root = None
    for line in text.splitlines():
        if header := HEADER.match(line):
            name, found, root = header.group(2), {}, None
            entry = name if header.group(1) else entry
        elif name is not None and (start := INSTRUCTION.match(line)):
            instruction = _instruction(start.group(2), line[start.end() :])
            found[instruction.name] = instruction
            root = instruction if start.group(1) else root
        elif name is not None and line.rstrip() == "}":
            assert root is not None, f"computation {name} has no root."
            computations[name], name = Computation(found, root), None
    if entry is None:
        raise ValueError("the text holds no ENTRY computation: give what `compiled.as_text()` returns.")
    return Program(computations, entry)


def arrays(shape: str) -> Iterator[Array]:
    """The arrays of a shape, a tuple's one after the other."""
    for dtype, dims, layout in ARRAY.findall(shape):
        space = re.search(r"S\((\d+)\)", layout)
        sizes = tuple(int(size) for size in dims.split(",") if size)
        yield Array(dtype, sizes, int(space.group(1)) if space else 0)


def _instruction(name: str, text: str) -> Instruction:
    shape, rest = _balanced(text) if text.startswith("(") else text.split(" ", 1)
    opcode, rest = rest.strip().split("(", 1)
    inside, attributes = _balanced("(" + rest)
    literal = inside[1:-1]
    operands = () if opcode in ("constant", "parameter") else tuple(re.findall(r"%([\w.\-]+)", literal))
    return Instruction(name, shape, opcode, operands, attributes, literal)


def _balanced(text: str) -> tuple[str, str]:
    """The text up to the parenthesis that closes the first, and the rest."""
    depth = 0
    for index, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return text[: index + 1], text[index + 1 :]
    raise ValueError(f"a parenthesis is never closed in {text[:80]!r}.")
