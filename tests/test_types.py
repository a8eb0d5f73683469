import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as Spec

from posttrain_jax import types

STATS = types.TokenStats(logps=jnp.zeros((2, 3, 4)), entropy=jnp.ones((2, 3, 4)))


def test_structs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        STATS.logps = STATS.entropy  # pyright: ignore[reportAttributeAccessIssue]


def test_structs_are_trees_of_their_fields():
    leaves, tree = jax.tree.flatten(STATS)
    assert [x.shape for x in leaves] == [(2, 3, 4), (2, 3, 4)]
    assert jax.tree.unflatten(tree, leaves).entropy is STATS.entropy
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(STATS)]
    assert paths == [".logps", ".entropy"]


def test_optional_fields_are_no_leaves():
    batch = types.PolicyBatch(jnp.ones((1, 1, 1), bool), jnp.ones((1, 1, 1)), jnp.ones((1, 1, 1)))
    assert len(jax.tree.leaves(batch)) == 3
    assert len(jax.tree.leaves(dataclasses.replace(batch, extra={"kl": jnp.ones((1, 1, 1))}))) == 4


def test_anything_may_stand_in_for_arrays_in_a_mapped_tree():
    assert jax.tree.map(lambda x: Spec("data"), STATS).logps == Spec("data")
    assert jax.eval_shape(lambda x: x, STATS).logps.shape == (2, 3, 4)
    stacked = jax.tree.map(lambda x: jnp.stack([x, x]), STATS)
    assert jax.vmap(lambda stats: stats.logps.sum())(stacked).shape == (2,)


def test_wrong_shapes_are_refused_when_a_person_builds_a_struct():
    with pytest.raises(Exception, match="P G T"):
        types.TokenStats(logps=jnp.zeros((2, 3)), entropy=jnp.zeros((2, 3, 4)))
    with pytest.raises(Exception, match="P G T"):
        types.TokenStats(logps=jnp.zeros((2, 3, 4)), entropy=jnp.zeros((2, 3, 5)))
