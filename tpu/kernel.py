"""What the splash attention kernels of a program compute: compilers do not look inside a kernel."""

import math
from collections.abc import Sequence

import hlo
import loop

from posttrain_jax.models import splash

PRODUCTS = {"fwd": 2, "dq": 3, "dkv": 4}
"""Products of a block of queries with a block of keys in each kernel: scores and values; and their gradients."""


def masks(prompt: int, group: int, length: int, window: int | None) -> list[tuple[splash.TreeMask, int]]:
    """Mask and block of the prompts' own pass and of the completions'."""
    return [splash.layout(0, 1, prompt, window), splash.layout(prompt, group, length, window)]


def seen_blocks(mask: splash.TreeMask, block: int) -> int:
    """Blocks in which any query sees any key: the kernels run no others."""
    queries, keys = (range(0, size, block) for size in mask.shape)
    return sum(bool(mask[slice(q, q + block), slice(k, k + block)].any()) for q in queries for k in keys)


def count(program: hlo.Program, possible: Sequence[tuple[splash.TreeMask, int]]) -> tuple[float, float, int]:
    """FLOPs and bytes of the kernels in one run, and how many calls of them the program holds.

    Bytes are of keys and values, read anew for each block of queries; what is read once is an operand of the call.

    Raises:
        ValueError: a kernel's sequence is none of the `possible` ones.
    """
    blocks = {mask.shape: (seen_blocks(mask, block), block) for mask, block in possible}
    flops, traffic, calls = 0.0, 0.0, 0
    for name, runs in loop.executions(program).items():
        where = program.computations[name]
        for one in where.instructions.values():
            kind = next((kind for kind in PRODUCTS if f"splash_mqa_{kind}_" in one.name), None)
            if one.opcode != "custom-call" or kind is None:
                continue
            given = [where.operand(one, i).results[0] for i in range(len(one.operands))]
            query, key = [array for array in given if array.dtype == "bf16" or array.dtype == "f32"][:2]
            shape = (query.dims[-2], key.dims[-2])
            if shape not in blocks:
                raise ValueError(f"{one.name} attends over {shape}, which is none of {sorted(blocks)}.")
            seen, block = blocks[shape]
            pairs = math.prod(query.dims[:-2]) * seen
            flops += runs.times * 2 * PRODUCTS[kind] * pairs * block * block * query.dims[-1]
            traffic += runs.times * 2 * pairs * block * key.bytes / math.prod(key.dims[:-1])
            calls += 1
    return flops, traffic, calls
