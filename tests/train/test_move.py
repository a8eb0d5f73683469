"""What a process puts together of its own, as if the first four of eight devices were all that it had."""

import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from posttrain_jax.models import sharding
from posttrain_jax.train import move

WHOLE = np.arange(96, dtype=np.float32).reshape(16, 6)


def held(spec, **shape):
    """An array on a mesh, of which the first half of the devices is here."""
    x = jax.device_put(WHOLE, NamedSharding(sharding.make_mesh(**shape), spec))
    here = sorted(x.addressable_shards, key=lambda shard: shard.device.id)[:4]
    return types.SimpleNamespace(addressable_shards=here, shape=x.shape, dtype=x.dtype)


def put_together(x, index):
    return inspect.unwrap(move._held)(x, index)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (Spec(sharding.ROWS), {"fsdp": 8}),
        (Spec(sharding.ROWS), {"data": 2, "tensor": 4}),
        (Spec("fsdp", "tensor"), {"data": 2, "fsdp": 2, "tensor": 2}),
        (Spec(None, "tensor"), {"data": 4, "tensor": 2}),
    ],
    ids=str,
)
def test_parts_of_other_sizes_are_put_together(spec, shape):
    x = held(spec, **shape)
    for index in ((slice(0, 8), slice(None)), (slice(2, 5), slice(1, 6)), (slice(4, 8), slice(0, 3))):
        np.testing.assert_array_equal(put_together(x, index), WHOLE[index])


def test_what_lies_elsewhere_alone_is_refused():
    x = held(Spec(sharding.ROWS), fsdp=8)
    with pytest.raises(
        ValueError, match=r"process 0 would need parts of an array \(16, 6\) that lie in other processes"
    ):
        put_together(x, (slice(6, 10), slice(None)))


def test_in_one_process_jax_moves_and_all_processes_are_there():
    mesh, other = sharding.make_mesh(fsdp=8), sharding.make_mesh(tensor=2, devices=jax.devices()[4:])
    move.check("teacher", other, mesh)
    where = NamedSharding(other, Spec(None, "tensor"))
    x = jax.device_put(jnp.asarray(WHOLE), NamedSharding(mesh, Spec(sharding.ROWS)))
    for moved in (move.to(where, x), *move.small(where, [x])):
        assert moved.sharding == where
        np.testing.assert_array_equal(moved, WHOLE)
