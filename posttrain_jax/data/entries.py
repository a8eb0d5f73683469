"""A teacher's likeliest entries of every completion token, in a folder of arrays, as columns of token rows.

    ids.npy         [N, k] int32, the likeliest first
    log_probs.npy   [N, k] float32, nats, of the whole distribution
    about.json      k, temperature, largest id, and a checksum of the tokens that they belong to

N are the tokens of all completions of all rows, one behind the other. Nothing but what a batch needs is read.
"""

import dataclasses
import itertools
import json
import pathlib
import shutil
import zlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from posttrain_jax.data import encode

IDS, LOG_PROBS = "teacher_ids", "teacher_log_probs"
"""The columns, [K, T, k] of a row."""
NOTHING = -1e30
"""The log-probability behind the end of a completion, where ids are -1."""


class Writer:
    """Takes the entries of one completion after the other; only when all are there does the folder count as whole."""

    def __init__(self, folder: pathlib.Path, rows: Sequence[encode.TokenRow], count: int):
        """Begin with nothing written; `count` is k.

        Raises:
            ValueError: k is below 1, or the disk has no room.
        """
        if count < 1:
            raise ValueError(f"{count} entries of each token say nothing: store at least 1.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "about.json").unlink(missing_ok=True)
        self._folder, self._rows, self._done, self._largest = folder, rows, 0, 0
        self._total, open_array = int(_starts(rows)[-1]), np.lib.format.open_memmap
        needed, free = 8 * count * self._total, shutil.disk_usage(folder).free
        if needed > free:  # an array on a disk that is full ends the process without a word
            raise ValueError(
                f"{count} entries of {self._total} tokens take {needed / 2**30:.3g} GiB and the disk of {folder} has"
                f" {free / 2**30:.3g} GiB free: store fewer, make room, or give a folder on another disk."
            )
        shape = (self._total, count)
        self._ids = open_array(folder / "ids.npy", mode="w+", dtype=np.int32, shape=shape)
        self._log_probs = open_array(folder / "log_probs.npy", mode="w+", dtype=np.float32, shape=shape)

    def append(self, ids: Int[np.ndarray, "t k"], log_probs: Float[np.ndarray, "t k"]) -> None:
        """The entries of the next completion."""
        here = slice(self._done, self._done + len(ids))
        self._ids[here], self._log_probs[here] = ids, log_probs
        self._done, self._largest = here.stop, max(self._largest, int(ids.max(initial=0)))

    def finish(self, *, temperature: float) -> None:
        """Say what they belong to.

        Raises:
            ValueError: entries are missing.
        """
        if self._done != self._total:
            raise ValueError(f"{self._done} of {self._total} tokens have entries: append all completions first.")
        self._ids.flush()
        self._log_probs.flush()
        about = {"count": self._ids.shape[1], "temperature": temperature, "largest_id": self._largest}
        text = json.dumps(about | {"tokens": self._total, "checksum": _checksum(self._rows)})
        (self._folder / "about.json").write_text(text + "\n")


@dataclasses.dataclass(frozen=True)
class Stored:
    """Token rows, each with its teacher's entries as columns; `iterate.Batches` takes them for rows."""

    rows: Sequence[encode.TokenRow]
    width: int
    """Tokens of a column: of the longest bucket."""
    ids: Int[np.ndarray, "N k"]
    log_probs: Float[np.ndarray, "N k"]
    starts: Int[np.ndarray, "_"]
    """Where the tokens of each completion begin."""
    temperature: float
    """What the teacher's logits were divided by: the student's must be, too."""

    def __len__(self) -> int:
        """As many as rows."""
        return len(self.rows)

    def __getitem__(self, index: int, /) -> encode.TokenRow:
        """The row with the two columns."""
        row, size = self.rows[index], len(self.rows[index].completions)
        columns = dict(row.columns)
        for name, values, filler in ((IDS, self.ids, -1.0), (LOG_PROBS, self.log_probs, NOTHING)):
            column = np.full((size, self.width, values.shape[1]), filler, np.float32)
            for member, ids in enumerate(row.completions):
                start = self.starts[index * size + member]
                column[member, : len(ids)] = values[start : start + len(ids)]
            columns[name] = column
        return dataclasses.replace(row, columns=columns)


def read(folder: pathlib.Path, rows: Sequence[encode.TokenRow], *, width: int, vocab_size: int) -> Stored:
    """The rows with the entries of `folder`.

    Args:
        folder: what `train.teacher.store` wrote of these rows.
        rows: token rows, as many completions in each.
        width: tokens of the longest bucket of completions.
        vocab_size: of the student.

    Raises:
        FileNotFoundError: nothing whole is there.
        ValueError: they belong to other tokens, a completion is longer than `width`, or the student has not their ids.
    """
    path = folder / "about.json"
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no teacher's entries, or not all: store them first.")
    about, starts = json.loads(path.read_text()), _starts(rows)
    if about["checksum"] != _checksum(rows) or about["tokens"] != starts[-1]:
        raise ValueError(
            f"the entries of {folder} belong to {about['tokens']} other tokens than these {starts[-1]}: take the same"
            " data, tokenizer and limits, or store them anew."
        )
    if about["largest_id"] >= vocab_size:
        raise ValueError(
            f"the entries of {folder} hold the id {about['largest_id']} and the student has {vocab_size}: it could not"
            " say this; take a student with as large a vocabulary."
        )
    longest, groups = int(np.diff(starts).max()), {len(row.completions) for row in rows}
    if longest > width or len(groups) > 1:
        raise ValueError(
            f"completions of up to {longest} tokens, {sorted(groups)} in a row, do not go into columns of {width}: make"
            " them wider, and rows alike."
        )
    ids, log_probs = (np.load(folder / name, mmap_mode="r") for name in ("ids.npy", "log_probs.npy"))
    return Stored(rows, width, ids, log_probs, starts[:-1], about["temperature"])


def _completions(rows: Sequence[encode.TokenRow]):
    return itertools.chain.from_iterable(row.completions for row in rows)


def _starts(rows: Sequence[encode.TokenRow]) -> Int[np.ndarray, "_"]:
    return np.cumsum([0, *(len(ids) for ids in _completions(rows))])


def _checksum(rows: Sequence[encode.TokenRow]) -> int:
    """Of all tokens, prompts included."""
    found = 0
    for row in rows:
        for ids in (row.prompt, *row.completions):
            found = zlib.crc32(ids.tobytes(), found)
    return found
