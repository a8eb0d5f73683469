"""Checkpoints: all that a run needs to go on as if it had never stopped, written in the background, whole or not."""

import dataclasses
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree
from orbax.checkpoint import v1 as ocp

from posttrain_jax import types

Json = Any
"""What `json.dumps` accepts and `json.loads` gives back unchanged."""


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What one checkpoint holds."""

    state: types.TrainState
    data: Json
    """State of the data iterator, identical on every host."""
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
        self.folder = pathlib.Path(folder).absolute()
        self._orbax = ocp.training.Checkpointer(
            str(self.folder),
            save_decision_policy=EveryTime(),
            # orbax's own policies do not match the Protocol that it declares
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),  # pyright: ignore[reportArgumentType]
            cleanup_tmp_directories=True,
        )

    def latest(self) -> int | None:
        """Step of the newest whole checkpoint, or None."""
        newest = self._orbax.latest
        return None if newest is None else newest.step

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Begin to save, after the save before it has ended; a step that is already saved is left as it is."""
        self._orbax.wait()
        if self.latest() == step:
            return
        parts = {"arrays": flatten(snapshot.state), "data": snapshot.data}
        parts["about"] = {"counters": snapshot.counters, "config": snapshot.config}
        if snapshot.ref_params is not None:
            parts["ref_params"] = flatten(snapshot.ref_params)
        if not self._orbax.save_checkpointables_async(step, parts, force=True):
            raise RuntimeError(f"step {step} was not saved in {self.folder}: is another run writing there?")

    def restore(self, state: types.TrainState, ref_params: PyTree | None = None) -> Snapshot:
        """Read the newest whole checkpoint onto the devices of today.

        Args:
            state: shapes, dtypes and shardings wanted (`update.abstract_state`); any mesh will do.
            ref_params: the same of a reference that moves.

        Raises:
            ValueError: there is none, it is damaged, or it belongs to another model, optimizer or recipe.
        """
        step = self.latest()
        if step is None:
            raise ValueError(
                f"{self.folder} holds no whole checkpoint: start without resuming, or give another folder."
            )
        wanted = {"arrays": targets(state), "data": None, "about": None}
        if ref_params is not None:
            wanted["ref_params"] = targets(ref_params)
        self._refuse_foreign(step, wanted)
        try:
            parts = self._orbax.load_checkpointables(step, wanted)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(
                f"checkpoint {self.folder / str(step)} is damaged ({first_line(error)}):"
                " remove that folder to resume from the one before it."
            ) from error
        return Snapshot(
            state=unflatten(state, parts["arrays"]),
            data=parts["data"],
            counters=parts["about"]["counters"],
            config=parts["about"]["config"],
            ref_params=None if ref_params is None else unflatten(ref_params, parts["ref_params"]),
        )

    def wait(self) -> None:
        """Return when everything is on disk."""
        self._orbax.wait()

    def close(self) -> None:
        """Finish and let go of the folder."""
        self._orbax.close()

    def _refuse_foreign(self, step: int, wanted: dict[str, Any]) -> None:
        """Name the first array that the checkpoint lacks, has besides, or has in another shape."""
        folder = self.folder / str(step)
        try:
            saved = self._orbax.checkpointables_metadata(step).metadata
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(
                f"{folder} is not a checkpoint of this library, or is damaged ({first_line(error)}): remove that"
                " folder, or give another one."
            ) from error
        for part in wanted:
            if part not in saved:
                raise ValueError(f"checkpoint {folder} holds no {part}: no such run saved it; give another folder.")
        for part in [name for name in wanted if name in ("arrays", "ref_params")]:
            if saved[part] is None:
                raise ValueError(
                    f"checkpoint {folder} is damaged (its {part} cannot be read): remove that folder to resume from the"
                    " one before it."
                )
            there = {name: tuple(x.shape) for name, x in saved[part].items()}
            here = {name: tuple(x.shape) for name, x in wanted[part].items()}
            for name in [*there, *here]:
                if there.get(name) != here.get(name):
                    raise ValueError(
                        f"checkpoint {folder} has {name} of shape {there.get(name)} where the run has"
                        f" {here.get(name)}: resume with its model and optimizer, or start a new folder."
                    )


def flatten(tree: PyTree) -> dict[str, Array]:
    """Arrays by their dotted path; typed keys as their data, the only form that is stored."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): key_data(x) for path, x in leaves}


def targets(tree: PyTree) -> dict[str, jax.ShapeDtypeStruct]:
    """What `flatten` would give, as shapes, dtypes and shardings."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): key_target(x) for path, x in leaves}


def unflatten(like: PyTree, arrays: dict[str, Array]) -> PyTree:
    """The tree that `flatten` took apart."""

    def one(path: tuple, x: Array | jax.ShapeDtypeStruct) -> Array:
        array = arrays[jax.tree_util.keystr(path, simple=True, separator=".")]
        return jax.random.wrap_key_data(array) if is_key(x) else array

    return jax.tree.map_with_path(one, like)


def is_key(x: Array | jax.ShapeDtypeStruct) -> bool:
    """Whether `x` is a typed PRNG key."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def key_data(x: Array) -> Array:
    """The words of a key; anything else as it is."""
    return jax.random.key_data(x) if is_key(x) else x


def key_target(x: Array | jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """Shape, dtype and sharding of `key_data(x)`."""
    shape = jax.eval_shape(key_data, x)
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=x.sharding)


def first_line(error: Exception) -> str:
    """An error in at most a line."""
    return str(error).split("\n")[0][:200]
