"""Rows of a batch between the host and the devices; on a pod every process reads and scores some of the rows."""

import collections
import dataclasses
import functools
import math

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, Sharding
from jaxtyping import Array, PyTree, Shaped


def to_devices(sharding: NamedSharding, own: Shaped[np.ndarray, "p ..."]) -> Shaped[Array, "P ..."]:
    """One global array of the rows that each process has read.

    Where a tensor axis spans processes, these hold the same rows on their devices, and each has read a part of them:
    they give one another theirs first.

    Raises:
        ValueError: this process's devices cannot share its rows evenly, or processes hold different numbers of rows.
    """
    total, shards = len(own) * jax.process_count(), math.prod(sharding.mesh.shape[axis] for axis in sharding.spec[0])
    if total % shards:
        raise ValueError(
            f"a batch of {total} rows cannot be shared by {shards} row shards (data x fsdp): use a multiple of"
            f" {shards} rows, or a mesh with fewer shards of rows."
        )
    shape = (total, *own.shape[1:])
    place = _place(sharding, shape)
    if place.together == 1:
        return jax.make_array_from_process_local_data(sharding, own)
    whole = multihost_utils.process_allgather(own)[np.asarray(place.order)].reshape(shape)
    return jax.make_array_from_callback(shape, sharding, lambda index: whole[index])


def to_host(tree: PyTree) -> PyTree:
    """The rows that this process has read, of every array, in order."""
    return jax.tree.map(_own, tree)


def gathered(tree: PyTree) -> PyTree:
    """The rows of all processes, in every process, of arrays of which each holds its own; all must call."""
    return tree if jax.process_count() == 1 else multihost_utils.process_allgather(tree, tiled=True)


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where this process stands among those that hold the rows."""

    together: int
    """Processes that hold the same rows as this one."""
    rank: int
    """Of this process among them: it has read the first part of these rows, or the second, and so on."""
    order: tuple[int, ...]
    """All processes, as the rows that they have read follow one another."""


@functools.cache
def _place(sharding: Sharding, shape: tuple[int, ...]) -> _Place:
    held: dict[int, set[int]] = {}
    for device, (rows, *_) in sharding.devices_indices_map(shape).items():
        held.setdefault(device.process_index, set()).add(rows.start or 0)
    parts = {process: tuple(sorted(starts)) for process, starts in held.items()}
    groups = collections.Counter(parts.values())
    overlap = sum(map(len, groups)) > len(set().union(*held.values()))
    uneven = len({len(own) for own in groups}) > 1 or len(set(groups.values())) > 1
    if overlap or uneven or len(parts) < jax.process_count():
        raise ValueError(
            f"the mesh cuts the rows (data x fsdp) so that the {jax.process_count()} processes hold"
            f" {[len(held.get(process, ())) for process in range(jax.process_count())]} parts of them"
            f"{', some in common' if overlap else ''}: use all devices, and a tensor axis that lies within a process or"
            " takes in whole ones."
        )
    here = parts[jax.process_index()]
    alike = sorted(process for process, own in parts.items() if own == here)
    order = sorted(parts, key=lambda process: (parts[process], process))
    return _Place(len(alike), alike.index(jax.process_index()), tuple(order))


def _own(x: Shaped[Array, "P ..."]) -> Shaped[np.ndarray, "p ..."]:
    # devices along the tensor axis hold the same rows
    parts = {shard.index[0].start or 0: shard.data for shard in x.addressable_shards}
    held = np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])
    place = _place(x.sharding, x.shape)
    count = len(held) // place.together
    return held[place.rank * count :][:count]
