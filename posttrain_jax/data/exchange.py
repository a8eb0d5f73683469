"""Work that the processes of a run split: each does its part, and all have the whole."""

import pickle
import zlib
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils

CHUNK = 1 << 20
"""Bytes that a process gives at one time: they go over the devices, whose memory must hold those of all processes."""

Part = TypeVar("Part")


@runtime_checkable
class Readable(Protocol):
    """Rows of any kind, by number."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """One of them."""
        ...


def own(count: int) -> range:
    """Which of `count` pieces of work this process does: every n-th of n processes, as long ones may stand together."""
    return range(jax.process_index(), count, jax.process_count())


def everyones(part: Part) -> list[Part]:
    """What each process has, in their order; all must call. Anything that can be pickled."""
    processes = jax.process_count()
    if processes == 1:
        return [part]
    packed = np.frombuffer(pickle.dumps(part), np.uint8)
    chunks = -(-len(packed) // CHUNK)
    most = int(np.max(multihost_utils.process_allgather(np.int32(chunks))))
    # pickled bytes say themselves where they end
    padded = np.pad(packed, (0, most * CHUNK - len(packed))).reshape(most, CHUNK)
    rounds = [multihost_utils.process_allgather(chunk) for chunk in padded]
    return [pickle.loads(b"".join(gathered[index].tobytes() for gathered in rounds)) for index in range(processes)]


def check_same(rows: Readable) -> None:
    """Go on where all processes read the same rows, as far as their number and a checksum tell; all must call.

    Raises:
        ValueError: one reads others, in every process.
    """
    if jax.process_count() == 1:
        return
    seen = everyones((len(rows), checksum(rows)))
    different = [index for index, one in enumerate(seen) if one != seen[0]]
    if different:
        raise ValueError(
            f"process {different[0]} of {len(seen)} reads other data ({seen[different[0]][0]} rows) than the first"
            f" ({seen[0][0]} rows): give every host the same files."
        )


def checksum(rows: Readable) -> int:
    """Of up to 64 rows, evenly spread: enough to tell one data set from another of the same length."""
    stride = max(1, -(-len(rows) // 64))
    return zlib.crc32("".join(repr(rows[index]) for index in range(0, len(rows), stride)).encode())
