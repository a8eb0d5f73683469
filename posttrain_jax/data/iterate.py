"""Batches without end, whose order a seed decides and a few numbers restore; and one pass in order."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import grain
import jax
import numpy as np

from posttrain_jax.data import exchange

Row = TypeVar("Row")
Found = TypeVar("Found", covariant=True)
Batch = TypeVar("Batch")

Collate = Callable[[Sequence[Row], slice], Batch]
"""From the rows of a global batch and the part of one process to that part: `batch.Pad`, `prompts.Pad`."""


def share(batch_size: int, process_index: int | None = None, process_count: int | None = None) -> slice:
    """The rows of the global batch that a process (this one) holds: consecutive, and the same number for each."""
    process_index = jax.process_index() if process_index is None else process_index
    process_count = jax.process_count() if process_count is None else process_count
    if batch_size < 1:
        raise ValueError(f"a batch of {batch_size} rows holds nothing to learn from: give at least 1.")
    if batch_size % process_count or not 0 <= process_index < process_count:
        raise ValueError(
            f"a batch of {batch_size} rows cannot be shared by process {process_index} of {process_count}; "
            f"choose a multiple of {process_count}."
        )
    rows = batch_size // process_count
    return slice(process_index * rows, (process_index + 1) * rows)


@runtime_checkable
class Rows(Protocol[Found]):
    """Rows that can be read in any order: a list, or `entries.Stored`."""

    def __len__(self) -> int:
        """How many."""
        ...

    def __getitem__(self, index: int, /) -> Found:
        """One of them."""
        ...


@runtime_checkable
class Data(Protocol):
    """Batches without end that can be left and taken up again; `Batches` is one."""

    def __next__(self) -> Any:
        """The next batch."""
        ...

    def state(self) -> Any:
        """Where it stands, as JSON whose objects may hold numpy arrays; the same in every process."""
        ...

    def restore(self, state: Any, /) -> None:
        """Go on where `state` was taken."""
        ...


@runtime_checkable
class Choosable(Data, Protocol):
    """Data whose rows can also be asked for one by one, as selections of prompts do; `Batches` is one."""

    @property
    def batch_size(self) -> int:
        """Rows of a batch."""
        ...

    def __len__(self) -> int:
        """Rows of the data."""
        ...

    def places(self, count: int) -> np.ndarray:
        """Which rows come next in the shuffled passes; they go on behind these."""
        ...

    def at(self, places: Sequence[int] | np.ndarray) -> Any:
        """The batch of the rows at these places."""
        ...


class Batches(Generic[Row, Batch]):
    """Endless shuffled batches: every row once in an order of its own for each epoch.

    A batch may begin in one epoch and end in the next, so that all are full. The global batches depend on rows, batch
    size and seed alone; the number of processes only decides who holds which rows.
    """

    def __init__(
        self,
        rows: Rows[Row],
        collate: Collate,
        *,
        batch_size: int,
        seed: int,
        process_index: int | None = None,
        process_count: int | None = None,
    ):
        """Begin at the first batch.

        Args:
            rows: all rows, the same in every process.
            collate: makes a batch of rows.
            batch_size: rows of a global batch.
            seed: of the order.
            process_index: of the process that will hold the batches; this one (`jax.process_index()`) where None.
            process_count: processes; `jax.process_count()` where None.
        """
        if not len(rows):
            raise ValueError("there are no rows to iterate over.")
        self._rows = rows
        self._collate = collate
        self._own = share(batch_size, process_index, process_count)
        self._batch_size = batch_size
        self._order = {"rows": len(rows), "batch_size": batch_size, "seed": seed, "content": exchange.checksum(rows)}
        # grain's own shuffle takes milliseconds a row on sets of a few rows, which are what one debugs with.
        permutation = functools.lru_cache(maxsize=2)(functools.partial(_permutation, len(rows), seed))
        indices = (
            grain.MapDataset.range(len(rows))
            .repeat()
            .map_with_index(lambda position, row: permutation(position // len(rows))[row])
        )
        # Collating costs microseconds a row: no threads, and nothing read ahead that a saved state would have to count.
        options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
        self._indices = iter(indices.to_iter_dataset(options))

    def __iter__(self) -> Iterator[Batch]:
        """Itself."""
        return self

    def __next__(self) -> Batch:
        """The next batch."""
        return self.at(self.places(self._batch_size))

    def __len__(self) -> int:
        """Rows of the data."""
        return len(self._rows)

    @property
    def batch_size(self) -> int:
        """Rows of a global batch."""
        return self._batch_size

    def places(self, count: int) -> np.ndarray:
        """Which rows come next in the shuffled passes; they go on behind these."""
        return np.asarray([next(self._indices) for _ in range(count)], np.int64)

    def at(self, places: Sequence[int] | np.ndarray) -> Batch:
        """The batch of the rows at these places, `batch_size` of them."""
        return self._collate([self._rows[int(place)] for place in places], self._own)

    def state(self) -> dict[str, Any]:
        """Where it stands: JSON-able, and the same in every process."""
        return {"indices": self._indices.get_state(), **self._order}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken, also with another number of processes.

        Raises ValueError where rows, batch size or seed are others: the order would not continue. (Of the rows, their
        number and a checksum of some of them are compared.)
        """
        for name, value in self._order.items():
            if state[name] != value:
                raise ValueError(
                    f"the saved data order has {name} {state[name]} and this one {value}: go on with the same data,"
                    " tokenizer, limits, batch size and seed, or give another folder."
                )
        self._indices.set_state(state["indices"])


def _permutation(count: int, seed: int, epoch: int) -> list[int]:
    return np.random.default_rng([seed, epoch]).permutation(count).tolist()


def one_pass(
    rows: Sequence[Row],
    collate: Collate,
    *,
    batch_size: int,
    process_index: int | None = None,
    process_count: int | None = None,
) -> Iterator[Any]:
    """Batches of all rows once, in order, for evaluation; the last is filled up with rows that count for nothing."""
    own = share(batch_size, process_index, process_count)
    for start in range(0, len(rows), batch_size):
        yield collate(rows[start : start + batch_size], own)


def ahead(data: Any) -> Any:
    """The next batch of `data` (see `Batches`), which stays the next."""
    position = data.state()
    batch = next(data)
    data.restore(position)
    return batch
