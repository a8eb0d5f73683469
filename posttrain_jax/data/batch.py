"""Token rows as padded arrays on the host, in few fixed shapes."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from posttrain_jax import types
from posttrain_jax.data import encode


@dataclasses.dataclass(frozen=True, order=True)
class Bucket:
    """A padded shape, in tokens."""

    prompt: int
    completion: int


@dataclasses.dataclass(frozen=True)
class HostGroups:
    """`types.Groups` in numpy: the rows of one process."""

    prompts: Int[np.ndarray, "P S"]
    prompt_lengths: Int[np.ndarray, "P"]
    completions: Int[np.ndarray, "P G T"]
    completion_lengths: Int[np.ndarray, "P G"]
    completion_mask: Bool[np.ndarray, "P G T"]
    group_ids: Int[np.ndarray, "P"]
    """Index of the source row, -1 on filling rows."""
    columns: Mapping[str, Float[np.ndarray, "P ..."]] = dataclasses.field(default_factory=dict)
    """What the data say of each row beside its tokens: [P] or [P, G]; 0 on filling rows."""

    def to_device(self, put: Callable[[np.ndarray], jax.Array]) -> types.Groups:
        """The same on devices; `put` makes one global array of this process's rows of it."""
        return types.Groups(
            prompts=put(self.prompts),
            prompt_lengths=put(self.prompt_lengths),
            completions=put(self.completions),
            completion_lengths=put(self.completion_lengths),
            completion_mask=put(self.completion_mask),
            group_ids=put(self.group_ids),
        )


@dataclasses.dataclass(frozen=True)
class Pad:
    """Collates token rows: the smallest bucket that holds every row of the *global* batch, so that processes agree."""

    buckets: Sequence[Bucket]
    """Shapes that may occur: each one compiles once."""
    pad_id: int
    group_size: int
    """Completions of a row."""

    def __call__(self, rows: Sequence[encode.TokenRow], own: slice) -> HostGroups:
        """The `own` part of the global batch `rows`.

        Where the batch has fewer rows than `own` asks for, rows that count for nothing fill it up: a prompt of one
        padding token, no completion token, group id -1.
        """
        bucket = self._bucket(rows)
        count = own.stop - own.start
        groups = HostGroups(
            prompts=np.full((count, bucket.prompt), self.pad_id, np.int32),
            prompt_lengths=np.ones(count, np.int32),
            completions=np.full((count, self.group_size, bucket.completion), self.pad_id, np.int32),
            completion_lengths=np.zeros((count, self.group_size), np.int32),
            completion_mask=np.zeros((count, self.group_size, bucket.completion), bool),
            group_ids=np.full(count, -1, np.int32),
            columns={name: np.zeros((count, *x.shape), np.float32) for name, x in rows[0].columns.items()},
        )
        for position, row in enumerate(rows[own]):
            _write(groups, position, row)
        return groups

    def _bucket(self, rows: Sequence[encode.TokenRow]) -> Bucket:
        prompt = max(len(row.prompt) for row in rows)
        completion = max((len(ids) for row in rows for ids in row.completions), default=0)
        fitting = [bucket for bucket in self.buckets if bucket.prompt >= prompt and bucket.completion >= completion]
        if not fitting:
            raise ValueError(
                f"a batch needs {prompt} prompt and {completion} completion tokens and fits none of "
                f"{list(self.buckets)}; add a bucket as large as the limits."
            )
        return min(fitting, key=lambda bucket: (bucket.prompt + self.group_size * bucket.completion, bucket))


def _write(groups: HostGroups, position: int, row: encode.TokenRow) -> None:
    groups.prompts[position, : len(row.prompt)] = row.prompt
    groups.prompt_lengths[position] = len(row.prompt)
    groups.group_ids[position] = row.index
    if row.columns.keys() != groups.columns.keys():
        raise ValueError(f"row {row.index} has columns {sorted(row.columns)}, others {sorted(groups.columns)}.")
    for name, value in row.columns.items():
        groups.columns[name][position] = value
    for member, ids in enumerate(row.completions):
        groups.completions[position, member, : len(ids)] = ids
        groups.completion_lengths[position, member] = len(ids)
        begins = 0 if row.given is None else row.given[member]
        groups.completion_mask[position, member, begins : len(ids)] = True
