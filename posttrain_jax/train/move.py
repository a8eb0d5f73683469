"""Arrays from one mesh to another: cut otherwise on the same devices, or on other devices of the same processes.

In one process, and on the same devices, JAX moves them. Between different devices of several processes it does not:
there each process puts together what its devices are to hold from what others of its devices do.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Array, PyTree, Shaped

from posttrain_jax.train import process


def to(sharding: NamedSharding, x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """`x`, lying as `sharding` says; all processes must call.

    Raises:
        ValueError: a process would need what lies in other processes alone.
    """
    if _jax_moves(sharding, x):
        return jax.device_put(x, sharding)
    with process.as_one():
        return jax.make_array_from_callback(x.shape, sharding, lambda index: _held(x, index or ()))


def small(sharding: NamedSharding, tree: PyTree) -> PyTree:
    """Likewise of small arrays, whoever holds what: every process has all of them for a moment."""

    def one(x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        if _jax_moves(sharding, x):
            return jax.device_put(x, sharding)
        lies: Any = x.sharding  # on a mesh, as all arrays of models and batches
        whole = np.asarray(_everywhere(lies.mesh)(x).addressable_data(0))
        return jax.make_array_from_callback(x.shape, sharding, lambda index: whole[index])

    return jax.tree.map(one, tree)


def check(name: str, mesh: Mesh, other: Mesh) -> None:
    """Refuse a mesh that some processes have no part of: they could not run its programs with the others.

    Args:
        name: whose mesh it is.
        mesh: to be looked at.
        other: the policy's.
    """
    own, wanted = ({device.process_index for device in one.devices.flat} for one in (mesh, other))
    if own != wanted:
        raise ValueError(
            f"the mesh of {name!r} lies on devices of the processes {sorted(own)} and the policy's on those of"
            f" {sorted(wanted)}: take as many devices of every process for it."
        )


@functools.cache
def _everywhere(mesh: Mesh) -> Callable[[Array], Array]:
    """Kept, so that no step compiles it anew."""
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, Spec()))


def _jax_moves(sharding: NamedSharding, x: Shaped[Array, "..."]) -> bool:
    return jax.process_count() == 1 or x.sharding.device_set == sharding.device_set


def _held(x: Shaped[Array, "..."], index: tuple[slice, ...]) -> Shaped[np.ndarray, "..."]:
    """This part of the array, from what the devices of this process hold."""
    wanted = _ends(index, x.shape)
    part, parts = np.empty([last - first for first, last in wanted], x.dtype), {}
    for shard in x.addressable_shards:
        own = _ends(shard.index or (), x.shape)
        both = tuple((max(a, c), min(b, d)) for (a, b), (c, d) in zip(wanted, own, strict=True))
        if both not in parts and all(first < last for first, last in both):
            there = tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(both, own, strict=True))
            here = tuple(slice(a - c, b - c) for (a, b), (c, _) in zip(both, wanted, strict=True))
            part[here] = np.asarray(shard.data)[there]
            parts[both] = math.prod(last - first for first, last in both)
    if sum(parts.values()) < part.size:
        raise ValueError(
            f"process {jax.process_index()} would need parts of an array {x.shape} that lie in other processes alone:"
            " build both meshes of the same devices, or cut rows and width alike over the processes."
        )
    return part


def _ends(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(one.indices(size)[:2] for one, size in zip(index, shape, strict=True))
