"""Read examples: a file, a local folder or a data set of the hub, as rows that are dicts."""

import dataclasses
import gzip
import json
import pathlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

Row = dict[str, Any]

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")


@runtime_checkable
class Rows(Protocol):
    """Examples that can be read in any order."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """The row at `index`, a dict."""
        ...


def read(source: str, *, split: str | None = None, subset: str | None = None) -> Rows:
    """Rows of `source`.

    Args:
        source: a file (JSONL, JSON list or Parquet, the first two also gzipped), a folder of such files or one that
            `datasets` saved, or else a name on the hub ("openai/gsm8k").
        split: which part, e.g. "train": a hub split, or the beginning of a file's name in a folder. Files have none.
        subset: the hub's configuration of a data set, e.g. "main" of openai/gsm8k.

    Raises:
        FileNotFoundError: nothing there, or the hub cannot be reached.
        ValueError: the data is broken (naming file and line), or the split has to be chosen among several.
    """
    path = pathlib.Path(source)
    if path.is_file():
        if split is not None:
            raise ValueError(f"{path} is one file and has no split {split!r}; leave the split out or give its folder.")
        return read_file(path)
    if path.is_dir():
        return _read_folder(path, split)
    if source.endswith(SUFFIXES) or source.startswith((".", "/", "~")):
        raise FileNotFoundError(f"there is no file or folder {source!r} in {pathlib.Path.cwd()}.")
    return _read_hub(source, split, subset)


@dataclasses.dataclass(frozen=True)
class Source:
    """Where examples come from; see `read`."""

    data: str
    """A JSONL, JSON or Parquet file, a local folder, or a name on the hub."""
    split: str | None = None
    """Which part, e.g. train. A file has none."""
    subset: str | None = None
    """The hub's configuration of a data set, e.g. main of openai/gsm8k."""

    def read(self) -> Rows:
        """The rows."""
        return read(self.data, split=self.split, subset=self.subset)


def read_file(path: pathlib.Path) -> Rows:
    """Rows of one JSONL, JSON or Parquet file, by its suffix."""
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{path} is none of the kinds that can be read: {', '.join(SUFFIXES)}.")
    if path.suffix == ".parquet":
        return _read_parquet(path)
    text = _read_text(path)
    rows = list(_json_lines(text, path)) if ".jsonl" in path.name else _json_list(text, path)
    if not rows:
        raise ValueError(f"{path} holds no rows.")
    return rows


def _read_text(path: pathlib.Path) -> str:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not whole gzip data ({error}); fetch it again.") from error
    try:
        # A byte-order mark at the beginning is Windows' habit, not data.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path} line {line} is not UTF-8 text; convert the file.") from error


def _json_lines(text: str, path: pathlib.Path) -> Iterator[Row]:
    # Only "\n" separates rows: str.splitlines would also cut at characters that may stand inside a JSON string.
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        if not line.strip():
            raise ValueError(f"{path} line {number} is empty; every line must hold one JSON object: remove it.")
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path} line {number} is not whole JSON ({error.msg} at column {error.colno}): {line[:80]!r};"
                " mend or remove it."
            ) from error
        if not isinstance(row, dict):
            raise ValueError(f"{path} line {number} holds a {type(row).__name__}, not a JSON object: {line[:80]!r}.")
        yield row


def _json_list(text: str, path: pathlib.Path) -> list[Row]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} line {error.lineno} is not JSON ({error.msg}); if each line is an object, name the file .jsonl."
        ) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} must hold one JSON list of objects.")
    return rows


def _read_parquet(path: pathlib.Path) -> Rows:
    # datasets brings pandas and pyarrow, a second of imports that a run on generated tasks does not need.
    import datasets
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path} is not a whole Parquet file ({error}).") from error
    return datasets.Dataset(table)


def _read_folder(folder: pathlib.Path, split: str | None) -> Rows:
    if (folder / "dataset_dict.json").exists() or (folder / "dataset_info.json").exists():
        import datasets

        return _pick(datasets.load_from_disk(str(folder)), split, str(folder))
    files = sorted(file for file in folder.rglob("*") if file.name.endswith(SUFFIXES))
    chosen = [file for file in files if split is None or _is_part(file.name, split)]
    names = ", ".join(str(file.relative_to(folder)) for file in files[:8]) or "none"
    if not chosen:
        wanted = "" if split is None else f" of split {split!r}"
        raise FileNotFoundError(
            f"{folder} has no data file{wanted} ({', '.join(SUFFIXES)}); its data files: {names}: give another folder,"
            " or a file."
        )
    if split is None and len(files) > 1:
        raise ValueError(f"{folder} has several data files ({names}); name a split or one file.")
    parts = [read_file(file) for file in chosen]
    return parts[0] if len(parts) == 1 else [part[index] for part in parts for index in range(len(part))]


def _is_part(name: str, split: str) -> bool:
    """`train.jsonl` and `train-00000-of-00002.parquet` are parts of "train", `trained.jsonl` is not."""
    return name.startswith(split) and not name[len(split) :][:1].isalnum()


def _read_hub(name: str, split: str | None, subset: str | None) -> Rows:
    import datasets

    try:
        return _pick(datasets.load_dataset(name, subset, split=split), split, name)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"there is no local file or folder {name!r}, and as a hub data set it cannot be read ({error})."
        ) from error


def _pick(loaded: Any, split: str | None, name: str) -> Rows:
    """One split of what `datasets` loaded: a data set, or a dict of them."""
    if not isinstance(loaded, dict):
        return loaded
    if split in loaded:
        return loaded[split]
    if split is None and len(loaded) == 1:
        return next(iter(loaded.values()))
    raise ValueError(f"{name} has the splits {', '.join(map(str, loaded))}; name one of them (got {split!r}).")


def check_disjoint(train: Sequence[Row] | Rows, held_out: Sequence[Row] | Rows, *, field: str) -> None:
    """Raise ValueError where a held-out row has the same `field` (white space aside) as a training row."""
    seen = {" ".join(str(train[index][field]).split()): index for index in range(len(train))}
    for index in range(len(held_out)):
        question = " ".join(str(held_out[index][field]).split())
        if question in seen:
            raise ValueError(
                f"held-out row {index} is training row {seen[question]} again ({question[:80]!r}); remove one of them."
            )
