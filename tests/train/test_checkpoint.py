import errno
import functools
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sparing

from posttrain_jax.train import checkpoint, leaf, optimizer, update


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
    return [np.asarray(leaf.key_data(x)) for x in jax.tree.leaves(tree)]


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


@pytest.fixture(scope="module")
def saved(tmp_path_factory, start):
    """A folder with two checkpoints, to be copied."""
    folder = tmp_path_factory.mktemp("saved") / "run"
    checkpoints = checkpoint.Checkpoints(folder)
    for step in (1, 2):
        checkpoints.save(step, snapshot(start(), counters={"step": step}))
    checkpoints.close()
    return folder


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def values(folder):
    """The file in which the numbers lie."""
    return largest(folder / "arrays" / "ocdbt.process_0" / "d")


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


HARM = {
    "numbers cut short": (lambda folder: cut(values(folder)), "not all of its files can be read"),
    "numbers gone": (lambda folder: values(folder).unlink(), "not all of its files can be read"),
    "numbers changed": (lambda folder: flip(values(folder)), "its numbers are not those that were saved"),
    "index cut short": (lambda folder: cut(folder / "arrays" / "manifest.ocdbt"), "its arrays cannot be read"),
    "index changed": (lambda folder: flip(folder / "arrays" / "manifest.ocdbt"), "its arrays cannot be read"),
    "names gone": (lambda folder: (folder / "arrays" / "_METADATA").unlink(), "its arrays cannot be read"),
    "position gone": (lambda folder: (folder / "data" / "_METADATA").unlink(), "not all of its files can be read"),
    "config cut short": (lambda folder: cut(folder / "about" / "_strings.json"), "its about cannot be read"),
    "a part gone": (lambda folder: shutil.rmtree(folder / "arrays"), "its arrays cannot be read"),
    "nothing left": (empty, "its arrays cannot be read"),
}


@pytest.mark.parametrize(
    "harm", sparing.names(HARM, "numbers gone", "numbers changed", "index cut short", "config cut short")
)
def test_a_damaged_checkpoint_is_named_and_put_aside_for_the_newest_whole_one(tmp_path, saved, wanted, capsys, harm):
    folder = shutil.copytree(saved, tmp_path / "run")
    damage, told = HARM[harm]
    damage(folder / "2")
    checkpoints = checkpoint.Checkpoints(folder)
    found = checkpoints.restore(wanted())
    assert found.counters == {"step": 1}
    assert f"Checkpoint {folder / '2'} is damaged ({told}): it is now 2.damaged; going on" in capsys.readouterr().err
    # its step can be saved again
    checkpoints.save(2, snapshot(found.state, counters={"step": 2}))
    checkpoints.close()
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "2.damaged"]
    assert_equal(checkpoint.Checkpoints(folder).restore(wanted()).state, found.state)


def test_where_none_is_whole_nothing_begins_again_by_itself(tmp_path, saved, wanted):
    folder = shutil.copytree(saved, tmp_path / "run")
    for step in ("1", "2"):
        cut(values(folder / step))
    told = r"holds no whole checkpoint. Step 2 is damaged: .* Step 1 is damaged: .*or remove the folder to begin again"
    for _ in range(2):
        with pytest.raises(ValueError, match=told):
            checkpoint.Checkpoints(folder).restore(wanted())
    with pytest.raises(ValueError, match=r"empty holds no whole checkpoint\. Put one there"):
        checkpoint.Checkpoints(tmp_path / "empty").restore(wanted())


def test_what_has_no_checkpoint_s_name_is_left_alone(tmp_path, saved, wanted):
    folder = shutil.copytree(saved, tmp_path / "run")
    (folder / "notes").mkdir()
    (folder / "2_old").mkdir()
    (folder / "9").write_text("a file")
    assert checkpoint.Checkpoints(folder).restore(wanted()).counters == {"step": 2}
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "2_old", "9", "notes"]


def test_a_foreign_checkpoint_is_refused_in_a_sentence(saved, wanted):
    with pytest.raises(ValueError, match=r"where the run has .*resume with its model, precision and optimizer"):
        checkpoint.Checkpoints(saved).restore(wanted(optimizer.Muon))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.int32, jnp.uint8, jnp.bool_])
def test_a_checksum_sees_every_bit_and_no_mesh(tiny, dtype):
    arrays = {"b": jnp.arange(16).astype(dtype).reshape(4, 4), "a": jnp.ones((), dtype)}
    whole = jax.sharding.NamedSharding(tiny.toy().mesh, jax.P())
    first = leaf.checksum(arrays, whole)
    assert leaf.checksum(dict(reversed(arrays.items())), whole) == first
    changed = np.asarray(arrays["b"]).copy()
    changed.view(np.uint8)[0, 0] ^= 1
    assert leaf.checksum(arrays | {"b": jnp.asarray(changed)}, whole) != first
    mesh = tiny.toy(data=2, fsdp=2).mesh
    cut_up, whole = (jax.sharding.NamedSharding(mesh, jax.P(*spec)) for spec in (("data", "fsdp"), ()))
    spread = {"a": jax.device_put(arrays["a"], whole), "b": jax.device_put(arrays["b"], cut_up)}
    assert leaf.checksum(spread, whole) == first


def test_a_checkpoint_that_cannot_be_written_is_told_in_a_sentence(tmp_path, start, monkeypatch):
    checkpoints = checkpoint.Checkpoints(tmp_path)
    checkpoints.save(1, snapshot(start(), counters={"step": 1}))
    checkpoints.wait()

    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints._orbax, "wait", full)
    checkpoints._writing = 2
    with pytest.raises(RuntimeError, match=r"checkpoint of step 2 .*No space left.*make room in .*goes on from step 1"):
        checkpoints.close()


def test_a_checkpoint_without_room_is_refused_before_it_is_begun(tmp_path, start, wanted, monkeypatch):
    checkpoints, state = checkpoint.Checkpoints(tmp_path), start()
    checkpoints.save(1, snapshot(state, ref_params=state.params))
    sizes = [x.nbytes for x in jax.tree.leaves((state, state.params))]
    full = shutil.disk_usage(tmp_path)._replace(free=sum(sizes) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    checkpoints.save(1, snapshot(state, ref_params=state.params))  # it is there
    with pytest.raises(ValueError, match=r"a checkpoint takes .* GiB and the disk of .* free: make room"):
        checkpoints.save(2, snapshot(state, ref_params=state.params))
    assert checkpoints.failed  # no run tries once more
    checkpoints.save(2, snapshot(state))
    checkpoints.close()
    assert not checkpoints.failed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_a_disk_without_any_room_is_told_once(tmp_path, start):
    checkpoints = checkpoint.Checkpoints(tmp_path)
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        checkpoints.save(1, snapshot(start()))
        with pytest.raises(RuntimeError, match=r"checkpoint of step 1 could not be written .*no older one is there"):
            checkpoints.wait()
        checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_checkpoint_in_another_precision_is_foreign_and_not_damaged(saved, wanted):
    halved = lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16, sharding=x.sharding)  # noqa: E731
    other = jax.tree.map(lambda x: halved(x) if x.dtype == jnp.float32 else x, wanted())
    told = r"has \S+ of shape \(.*\) float32 where the run has \(.*\) bfloat16: resume with its model, precision and"
    with pytest.raises(ValueError, match=told):
        checkpoint.Checkpoints(saved).restore(other)


def test_keeping_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="keep at least 1"):
        checkpoint.Checkpoints(tmp_path, keep=0)
    assert leaf.flatten({"a": jnp.ones(1)}).keys() == {"a"}
