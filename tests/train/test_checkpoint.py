import functools
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.train import checkpoint, optimizer, update


@pytest.fixture(scope="module")
def wanted(tiny):
    """A function that says what a restore onto a mesh asks for."""

    def make(kind=optimizer.AdamW, **mesh):
        return update.abstract_state(tiny.toy(**mesh), optimizer.make_optimizer(kind(optimizer.Constant(1e-2))))

    return make


@pytest.fixture(scope="module")
def start(tiny):
    """A function that makes a state on a mesh, once."""

    @functools.cache
    def make(kind=optimizer.AdamW, **mesh):
        model = tiny.toy(**mesh)
        opt = optimizer.make_optimizer(kind(optimizer.Constant(1e-2)))
        return update.init_state(model, opt, jax.random.key(7), params=model.init(jax.random.key(0)))

    return make


def snapshot(state, **changes):
    fields = {"state": state, "data": {"next": 3, "names": ["a", None, 0.5]}, "counters": {"step": 3}, "config": "é"}
    return checkpoint.Snapshot(**fields | changes)


def numbers(tree):
    return [np.asarray(checkpoint.key_data(x)) for x in jax.tree.leaves(tree)]


def assert_equal(a, b):
    for x, y in zip(numbers(a), numbers(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_round_trip_onto_other_meshes(tmp_path, start, wanted):
    state = start(optimizer.Muon, data=2, fsdp=2)
    checkpoints = checkpoint.Checkpoints(tmp_path)
    assert checkpoints.latest() is None
    checkpoints.save(3, snapshot(state, ref_params=state.params))
    checkpoints.wait()
    for mesh in ({}, {"data": 2, "fsdp": 2}, {"data": 2, "fsdp": 2, "tensor": 2}):
        abstract = wanted(optimizer.Muon, **mesh)
        found = checkpoint.Checkpoints(tmp_path).restore(abstract, abstract.params)
        assert_equal(found.state, state)
        assert_equal(found.ref_params, state.params)
        assert (found.data, found.counters, found.config) == (snapshot(state).data, {"step": 3}, "é")
        for x, y in zip(jax.tree.leaves(found.state), jax.tree.leaves(abstract), strict=True):
            assert x.dtype == y.dtype
            assert x.sharding.is_equivalent_to(y.sharding, x.ndim)
        assert jax.random.key_data(jax.random.fold_in(found.state.key, 1)).shape == (2,)


def test_a_save_holds_the_state_of_its_moment_though_the_state_is_given_away(tmp_path, start, wanted):
    state = jax.tree.map(jnp.copy, start())
    abstract = wanted()
    change = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    checkpoints = checkpoint.Checkpoints(tmp_path)
    expected = numbers(state.params)
    checkpoints.save(1, snapshot(state))
    change(state.params)
    checkpoints.wait()
    for x, y in zip(numbers(checkpoints.restore(abstract).state.params), expected, strict=True):
        np.testing.assert_array_equal(x, y)


def test_no_save_is_skipped_and_the_newest_are_kept(tmp_path, start, wanted):
    state, abstract = start(), wanted()
    checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
    for step in range(1, 5):
        checkpoints.save(step, snapshot(state, counters={"step": step}))
    checkpoints.save(4, snapshot(state, counters={"step": -1}))
    checkpoints.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4"]
    assert checkpoint.Checkpoints(tmp_path).restore(abstract).counters == {"step": 4}


def test_a_torn_save_is_passed_over(tmp_path, start, wanted):
    state, abstract = start(), wanted()
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(1, snapshot(state, counters={"step": 1}))
    checkpoints.close()
    # what a kill leaves behind: the folder under its temporary name
    torn = tmp_path / "2.orbax-checkpoint-tmp"
    shutil.copytree(tmp_path / "1", torn)
    again = checkpoint.Checkpoints(tmp_path)
    assert again.latest() == 1
    assert again.restore(abstract).counters == {"step": 1}


def test_damaged_foreign_and_missing_checkpoints_are_refused_in_a_sentence(tmp_path, start, wanted):
    state, abstract = start(), wanted()
    with pytest.raises(ValueError, match="holds no whole checkpoint: start without"):
        checkpoint.Checkpoints(tmp_path / "empty").restore(abstract)
    checkpoints = checkpoint.Checkpoints(tmp_path / "run")
    checkpoints.save(1, snapshot(state))
    checkpoints.close()
    muon = wanted(optimizer.Muon)
    with pytest.raises(ValueError, match=r"where the run has .*resume with its model and optimizer"):
        checkpoint.Checkpoints(tmp_path / "run").restore(muon)
    for path in (tmp_path / "run" / "1" / "arrays").rglob("*"):
        if path.is_file() and path.name != "_METADATA":
            path.unlink()
    with pytest.raises(ValueError, match=r"damaged .*remove that folder"):
        checkpoint.Checkpoints(tmp_path / "run").restore(abstract)
    (tmp_path / "other" / "5").mkdir(parents=True)
    pathlib.Path(tmp_path / "other" / "5" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match="holds no arrays: no such run saved it"):
        checkpoint.Checkpoints(tmp_path / "other").restore(abstract)


def test_keeping_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep at least 1"):
        checkpoint.Checkpoints(tmp_path, keep=0)
    assert checkpoint.flatten({"a": jnp.ones(1)}).keys() == {"a"}
