"""Checkpoints: all that a run needs to go on as if it had never stopped, written in the background, whole or not."""

import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Callable
from typing import Any, cast

import jax
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding
from jaxtyping import Array, PyTree
from orbax.checkpoint import v1 as ocp

from posttrain_jax import types
from posttrain_jax.train import checks, leaf, process

ARRAYS = ("arrays", "ref_params")
"""The parts of a checkpoint that hold arrays; the others are JSON."""

STORAGE_ERRORS = (ValueError, OSError, KeyError)
"""What reading damaged files raises."""

APART_S = 300
"""Seconds by which processes may end apart with writing: after them a save fails that another process cannot end."""

Json = Any
"""What `json.dumps` accepts and `json.loads` gives back unchanged."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What one checkpoint holds."""

    state: types.TrainState
    data: Json
    """State of the data iterator, identical on every host; numpy arrays may be in it."""
    counters: Json
    """What the loop counts."""
    config: str
    """The run's configuration as text."""
    ref_params: PyTree | None = None
    """The reference, if it moves."""


class EveryTime:
    """Orbax's save policy: the loop has already decided; nothing is skipped because another save is running."""

    def should_save(self, step, previous_steps, *, context) -> bool:
        """Always."""
        return True


class Checkpoints:
    """The checkpoints of one run: a folder with one sub-folder per step, the newest `keep` of them.

    A save is copied off the devices before it returns and written by a thread; its folder gets its name when it is
    complete, so that a process killed at any moment leaves whole checkpoints and, at most, a temporary folder.
    """

    def __init__(self, folder: str | pathlib.Path, *, keep: int = 3):
        if keep < 1:
            raise ValueError(f"keep={keep} checkpoints leaves nothing to resume from: keep at least 1.")
        self.folder, self._writing, self.failed = pathlib.Path(folder).absolute(), 0, False
        context = ocp.Context()
        context.asynchronous.timeout_secs = APART_S
        self._orbax = ocp.training.Checkpointer(
            str(self.folder),
            save_decision_policy=EveryTime(),
            # orbax's own policies do not match the Protocol that it declares
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),  # pyright: ignore[reportArgumentType]
            cleanup_tmp_directories=True,
            context=context,
        )

    def latest(self) -> int | None:
        """Step of the newest checkpoint, or None. Whether it is whole is seen when it is read."""
        return None if self._orbax.latest is None else self._orbax.latest.step

    def count(self) -> int:
        """Checkpoints on disk."""
        return len(self._orbax.checkpoints)

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Begin to save, after the save before it has ended; a step that is already saved is left as it is.

        Raises:
            RuntimeError: the save before it failed.
            ValueError: there is no room for this one, which on a pod all processes hear at once.
        """
        self.wait()
        if self.latest() == step:
            return
        self.failed = True  # unless there is room
        with process.as_one():
            checks.disk(self.folder, (snapshot.state, snapshot.ref_params), 1)
        self.failed = False
        parts = {"arrays": leaf.flatten(snapshot.state), "data": leaf.packed(snapshot.data)}
        if snapshot.ref_params is not None:
            parts["ref_params"] = leaf.flatten(snapshot.ref_params)
        sums = checksums(parts, snapshot.state.step)
        parts["about"] = {"counters": snapshot.counters, "config": snapshot.config, "checksums": sums}
        self._writing = step
        if not self._orbax.save_checkpointables_async(step, parts, force=True):
            raise RuntimeError(f"step {step} was not saved in {self.folder}: is another run writing there?")

    def restore(
        self,
        state: types.TrainState,
        ref_params: PyTree | None = None,
        *,
        accept: Callable[[str], None] = lambda config: None,
    ) -> Snapshot:
        """Read the newest whole checkpoint onto the devices of today; damaged newer ones are put aside and told.

        Args:
            state: shapes, dtypes and shardings wanted (`update.abstract_state`); any mesh will do.
            ref_params: the same of a reference that moves.
            accept: raises where a checkpoint of such a `Snapshot.config` is another run's; asked before its arrays are
                looked at.

        Raises:
            ValueError: none is there, none is whole, or the newest whole one is of another model, optimizer or recipe.
        """
        wanted = {"arrays": leaf.targets(state), "data": None, "about": None}
        if ref_params is not None:
            wanted["ref_params"] = leaf.targets(ref_params)
        damaged: dict[int, str] = {}
        for step in sorted((one.step for one in self._orbax.checkpoints), reverse=True):
            parts, reason = self._read(step, wanted, accept)
            # what one process cannot read, none goes on from
            if process.anyone(not parts):
                damaged[step] = reason or "another process cannot read it"
            elif checksums(parts, state.step) != parts["about"]["checksums"]:
                damaged[step] = "its numbers are not those that were saved"
            else:
                self._put_aside(damaged, step)
                return snapshot_of(parts, state, ref_params)
        told = "".join(f" Step {step} is damaged: {reason}." for step, reason in damaged.items())
        raise ValueError(
            f"{self.folder} holds no whole checkpoint.{told} Put one there, or remove the folder to begin again."
        )

    def wait(self) -> None:
        """Return when everything is on disk.

        Raises:
            RuntimeError: it cannot be written, for want of room or of permission.
        """
        try:
            self._orbax.wait()
        # the thread that wrote raises whatever storage raises
        except Exception as error:
            self.failed = True
            raise RuntimeError(self._unwritten(error)) from error

    def check(self) -> None:
        """Without waiting: see that nothing failed that is no longer being written.

        Raises:
            RuntimeError: see `wait`.
        """
        # on a pod, waiting is what all processes must do together
        if jax.process_count() == 1 and not self._orbax.is_saving_in_progress():
            self.wait()

    def close(self) -> None:
        """Finish and let go of the folder; RuntimeError as in `wait`."""
        try:
            self.wait()
        finally:
            # what `wait` has raised is raised here in other words
            with contextlib.suppress(OSError):
                self._orbax.close()

    def _read(self, step: int, wanted: dict[str, Any], accept: Callable[[str], None]) -> tuple[dict[str, Any], str]:
        """The parts of one checkpoint; or nothing, and what is damaged."""
        try:
            saved = self._orbax.checkpointables_metadata(step).metadata
        except STORAGE_ERRORS:
            return {}, "not all of its files can be read"
        for part in wanted:
            if part not in saved or (part in ARRAYS and saved[part] is None):
                return {}, f"its {part} cannot be read"
        try:
            config = self._orbax.load_checkpointables(step, {"about": None})["about"]["config"]
        except STORAGE_ERRORS:
            return {}, "its about cannot be read"
        accept(config)
        self._refuse_foreign(step, saved, wanted)
        try:
            return self._orbax.load_checkpointables(step, wanted), ""
        except STORAGE_ERRORS:
            return {}, "not all of its files can be read"

    def _refuse_foreign(self, step: int, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Name the first array that the checkpoint lacks, has besides, or has in another shape or type."""
        for part in [name for name in ARRAYS if name in wanted]:
            there = {name: leaf.kind(x) for name, x in saved[part].items()}
            here = {name: leaf.kind(x) for name, x in wanted[part].items()}
            for name in [*there, *here]:
                if there.get(name) != here.get(name):
                    raise ValueError(
                        f"checkpoint {self.folder / str(step)} has {name} of shape {there.get(name)} where the run has"
                        f" {here.get(name)}: resume with its model, precision and optimizer, or start a new folder."
                    )

    def _put_aside(self, damaged: dict[int, str], whole: int) -> None:
        """Rename what is damaged, so that its step can be saved again and a person can look at it."""
        for step, reason in damaged.items():
            old, new = self.folder / str(step), free_name(self.folder / f"{step}.damaged")
            process.tell(f"Checkpoint {old} is damaged ({reason}): it is now {new.name}; going on from step {whole}.")
            if jax.process_index() == 0:
                old.rename(new)
        if damaged:
            multihost_utils.sync_global_devices("damaged checkpoints put aside")
            self._orbax.reload()

    def _unwritten(self, error: Exception) -> str:
        whole = [path.name for path in self.folder.iterdir() if path.name.isdigit() and int(path.name) < self._writing]
        back = f"the same command goes on from step {max(map(int, whole))}" if whole else "no older one is there"
        return (
            f"the checkpoint of step {self._writing} could not be written ({first_line(error)}): make room in"
            f" {self.folder}, or see that it may be written; {back}."
        )


def checksums(parts: dict[str, Any], number: Array | jax.ShapeDtypeStruct) -> dict[str, int]:
    """Of the parts that hold arrays; `number` lies whole on every device of the mesh."""
    return {part: leaf.checksum(parts[part], cast(NamedSharding, number.sharding)) for part in ARRAYS if part in parts}


def snapshot_of(parts: dict[str, Any], state: types.TrainState, ref_params: PyTree | None) -> Snapshot:
    """What was saved, in the form of `state` and `ref_params`."""
    moved = None if ref_params is None else leaf.unflatten(ref_params, parts["ref_params"])
    about, data = parts["about"], leaf.unpacked(parts["data"])
    return Snapshot(leaf.unflatten(state, parts["arrays"]), data, about["counters"], about["config"], moved)


def free_name(path: pathlib.Path) -> pathlib.Path:
    """`path`, or `path` with the first number behind it that is not taken."""
    numbered = (path.with_name(f"{path.name}{number or ''}") for number in itertools.count())
    return next(one for one in numbered if not one.exists())


def first_line(error: Exception) -> str:
    """An error in at most a line."""
    return (str(error) or type(error).__name__).split("\n")[0][:200]
