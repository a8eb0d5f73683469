"""Folders of safetensors files, one or several with an index. What the tensors mean is not known here."""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  (registers bfloat16 with numpy, in which safetensors returns such tensors)
import numpy as np
import safetensors
import safetensors.numpy

from posttrain_jax.models import settings_file

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor on disk: indexing it reads that part and no more."""

    shape: tuple[int, ...]
    dtype: str
    """As the file names it, for example F32 or BF16."""
    lazy: Any

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        return self.lazy[index]


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Mapping[str, Tensor]]:
    """The folder's tensors by name; to be read while the context lasts.

    Raises:
        FileNotFoundError: there are no safetensors files, or one that the index lists is missing.
        ValueError: one of them is not whole.
    """
    with contextlib.ExitStack() as stack:
        tensors = {}
        for path in _files(folder):
            with whole(path):
                file = stack.enter_context(safetensors.safe_open(path, "numpy"))
            for name in file.keys():  # noqa: SIM118  (the handle is no mapping)
                part = file.get_slice(name)
                tensors[name] = Tensor(tuple(part.get_shape()), part.get_dtype(), part)
        yield tensors


@contextlib.contextmanager
def whole(path: Path) -> Iterator[None]:
    """Inside, `path` is opened: a download that broke off has a header that promises more than there is.

    Raises:
        ValueError: it is not whole.
    """
    try:
        yield
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): fetch or write it again.") from error


def _files(folder: Path) -> list[Path]:
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if not (folder / INDEX).exists():
        raise FileNotFoundError(
            f"{folder} holds neither {SINGLE} nor {INDEX}; convert other formats with transformers' save_pretrained."
        )
    index = settings_file.read(folder / INDEX)
    if not isinstance(index.get("weight_map"), dict):
        raise ValueError(f"{folder / INDEX} has no weight_map, which says where each tensor is: fetch it again.")
    names = sorted(set(index["weight_map"].values()))
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}, which its index lists; download it again.")
    return [folder / name for name in names]


def save(tensors: dict[str, np.ndarray], path: Path) -> None:
    """Write one file, which may be read by whom the umask lets; safetensors alone would let nobody else."""
    path.touch()
    mode = path.stat().st_mode
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(mode)


def write(folder: Path, tensors: Iterable[tuple[str, np.ndarray]], *, file_bytes: int) -> None:
    """Write tensors as they come, beginning another file whenever one would exceed `file_bytes`.

    At most one file's worth of tensors is held in memory.
    """
    waiting: dict[str, np.ndarray] = {}
    places: list[list[str]] = []
    size = total = 0

    def flush():
        places.append(list(waiting))
        save(waiting, folder / f"part-{len(places)}")
        waiting.clear()

    for name, tensor in tensors:
        if waiting and size + tensor.nbytes > file_bytes:
            flush()
            size = 0
        # Views would keep the whole stacked leaf alive, and safetensors writes the buffer as it lies.
        waiting[name] = np.ascontiguousarray(tensor)
        size, total = size + tensor.nbytes, total + tensor.nbytes
    flush()
    _name(folder, places, total)


def _name(folder: Path, places: list[list[str]], total: int) -> None:
    """Give the files the names that transformers expects, known only when their number is."""
    if len(places) == 1:
        (folder / "part-1").rename(folder / SINGLE)
        return
    weight_map = {}
    for i, names in enumerate(places, 1):
        file = f"model-{i:05d}-of-{len(places):05d}.safetensors"
        (folder / f"part-{i}").rename(folder / file)
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def occupied(folder: Path) -> bool:
    """Whether writing `folder` would destroy something."""
    return folder.is_file() or (folder.is_dir() and any(folder.iterdir()))


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place when the context ends without an error.

    `folder` is never seen half written; what it held is deleted once the new one stands.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
