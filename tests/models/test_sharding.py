import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, PartitionSpec

from posttrain_jax.models import sharding
from tests.models import tiny


def test_a_mesh_takes_the_first_devices_in_the_order_data_fsdp_tensor():
    mesh = sharding.make_mesh(data=2, tensor=2)
    assert mesh.axis_names == ("data", "fsdp", "tensor")
    assert mesh.devices.shape == (2, 1, 2)
    assert [d.id for d in mesh.devices.ravel()] == [0, 1, 2, 3]
    assert mesh.axis_types == (AxisType.Auto,) * 3
    last = sharding.make_mesh(fsdp=2, devices=jax.devices()[6:])
    assert [d.id for d in last.devices.ravel()] == [6, 7]


@pytest.mark.parametrize("shape", [{"data": 9}, {"data": 2, "fsdp": 2, "tensor": 4}, {"tensor": 0}, {"fsdp": -1}])
def test_an_impossible_mesh_is_refused(shape):
    with pytest.raises(ValueError, match="devices and there are 8: choose positive sizes"):
        sharding.make_mesh(**shape)


def test_the_table_names_every_parameter_and_no_other():
    model = tiny.model(output_bias=True, mlp_bias=True)
    names = {path[-1].key for path, _ in jax.tree.leaves_with_path(model.shardings())}
    assert names == set(sharding.PARAM_AXES)


def test_specs():
    assert sharding.TRAINING_RULES.spec("embedding", stacked=False) == PartitionSpec("tensor", "fsdp")
    assert sharding.TRAINING_RULES.spec("down", stacked=True) == PartitionSpec(None, "tensor", "fsdp")
    assert sharding.SAMPLING_RULES.spec("down", stacked=True) == PartitionSpec(None, "tensor", None)
    assert sharding.TRAINING_RULES.spec("query_bias", stacked=True) == PartitionSpec(None, "tensor")


@pytest.mark.parametrize("fsdp", [1, 2])
def test_a_width_is_gathered_only_where_it_is_cut(fsdp):
    mesh, rules = sharding.make_mesh(data=2, fsdp=fsdp), sharding.TRAINING_RULES
    cut, whole = rules.spec("embedding", stacked=False), PartitionSpec(("data", "fsdp", "tensor"))

    def loss(table, scale):
        gathered = jax.shard_map(
            lambda table: sharding.gather_width(table, rules, axis=1), mesh=mesh, in_specs=cut, out_specs=whole
        )
        return jnp.sum(gathered(table).reshape(-1, *table.shape) * scale)

    table, scale = jnp.arange(8.0).reshape(4, 2), jnp.arange(2.0 * fsdp).reshape(-1, 1, 1) + 1
    value, gradient = jax.jit(jax.value_and_grad(loss))(table, scale)
    assert ("all_gather" in str(jax.make_jaxpr(loss)(table, scale))) == (fsdp > 1)
    assert value == scale.sum() * table.sum()
    assert (gradient == scale.sum()).all()
