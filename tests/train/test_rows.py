import jax
import numpy as np
import pytest

from posttrain_jax.train import reference, rows


@pytest.mark.parametrize("mesh", [{}, {"data": 2, "fsdp": 2, "tensor": 2}, {"tensor": 4}])
def test_rows_come_back_in_order(tiny, mesh):
    sharding = tiny.toy(**mesh).row_sharding
    x = np.arange(24).reshape(8, 3).astype(np.int32)
    there = rows.to_devices(sharding, x)
    assert there.sharding == sharding
    np.testing.assert_array_equal(rows.to_host({"x": there})["x"], x)


def test_rows_that_the_mesh_does_not_divide_are_refused(tiny):
    sharding = tiny.toy(data=2, fsdp=2, tensor=2).row_sharding
    with pytest.raises(ValueError, match=r"a batch of 10 rows cannot be shared by 4 row shards .* multiple of 4 rows"):
        rows.to_devices(sharding, np.zeros((10, 3), np.int32))


def test_score_is_the_models_and_copies_outlive_the_original(tiny):
    model = tiny.toy(data=2)
    params, groups = model.init(jax.random.key(0)), tiny.groups(model)
    kept = reference.copy(params)
    stats = reference.make_score(model, temperature=0.5)(params, groups)
    np.testing.assert_allclose(stats.logps, model.token_stats(params, groups, temperature=0.5).logps, rtol=1e-5)
    assert stats.logps.sharding.is_equivalent_to(model.row_sharding, 3)
    jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)(params)
    np.testing.assert_array_equal(reference.make_score(model, temperature=0.5)(kept, groups).logps, stats.logps)
