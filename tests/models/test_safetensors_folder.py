import json

import ml_dtypes
import numpy as np
import pytest
import safetensors

from posttrain_jax.models import safetensors_folder

TENSORS = {
    "wide": np.arange(12, dtype=np.float32).reshape(3, 4),
    "half": np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "flat": np.float32([1, 2, 3]),
}
EVERYTHING = (slice(None), slice(None))


@pytest.mark.parametrize(("limit", "files"), [(10**6, 1), (60, 2), (1, 4)])
def test_what_is_written_is_read(tmp_path, limit, files):
    safetensors_folder.write(tmp_path, TENSORS.items(), file_bytes=limit)
    assert len(list(tmp_path.glob("*.safetensors"))) == files
    (tmp_path / "plain").touch()
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {(tmp_path / "plain").stat().st_mode}
    assert (tmp_path / safetensors_folder.INDEX).exists() == (files > 1)
    with safetensors_folder.opened(tmp_path) as found:
        assert found.keys() == TENSORS.keys()
        assert [found[name].dtype for name in TENSORS] == ["F32", "BF16", "F32", "F32"]
        for name, tensor in TENSORS.items():
            assert found[name].shape == tensor.shape
            read = found[name][EVERYTHING[: tensor.ndim]]
            assert read.dtype == tensor.dtype
            np.testing.assert_array_equal(read, tensor)
        np.testing.assert_array_equal(found["wide"][slice(1, 3), slice(0, 2)], [[4, 5], [8, 9]])


def test_index_counts_bytes_and_names_every_tensor(tmp_path):
    safetensors_folder.write(tmp_path, TENSORS.items(), file_bytes=60)
    index = json.loads((tmp_path / safetensors_folder.INDEX).read_text())
    assert index["metadata"]["total_size"] == 48 + 12 + 24 + 12
    for name, file in index["weight_map"].items():
        with safetensors.safe_open(tmp_path / file, "numpy") as handle:
            assert name in handle.keys()  # noqa: SIM118


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "out"
    assert not safetensors_folder.occupied(folder)
    with safetensors_folder.replacing(folder) as fresh:
        (fresh / "first").touch()
        assert not folder.exists()
    assert safetensors_folder.occupied(folder)

    def fail():
        with safetensors_folder.replacing(folder) as fresh:
            (fresh / "second").touch()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [path.name for path in folder.iterdir()] == ["first"]
    with safetensors_folder.replacing(folder) as fresh:
        (fresh / "second").touch()
    assert [path.name for path in folder.iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert safetensors_folder.occupied(folder / "second")


@pytest.mark.parametrize("kept", [0, 5, 60])
def test_a_file_that_broke_off_is_named(tmp_path, kept):
    safetensors_folder.write(tmp_path, TENSORS.items(), file_bytes=10**6)
    path = tmp_path / safetensors_folder.SINGLE
    path.write_bytes(path.read_bytes()[:kept])
    broken = r"model\.safetensors is not a whole safetensors file \(.*\): fetch or write it again"
    with pytest.raises(ValueError, match=broken), safetensors_folder.opened(tmp_path):
        pass


def test_an_index_without_a_map(tmp_path):
    (tmp_path / safetensors_folder.INDEX).write_text("{}")
    with pytest.raises(ValueError, match=r"index\.json has no weight_map"), safetensors_folder.opened(tmp_path):
        pass
