"""Whether a stage fits into memory, known from its compiled program before that runs for the first time."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax

from posttrain_jax.train import checkpoint, process

GIB = 2**30
REMEDY = (
    "use more micro-batches, fewer or shorter rows, remat, a mesh that cuts the parameters over more devices (fsdp,"
    " tensor), or LoRA."
)


@dataclasses.dataclass(frozen=True)
class Need:
    """Bytes that a program takes on each device."""

    arguments: int
    beside: int
    """Temporaries, and outputs that do not take the place of an argument."""


@dataclasses.dataclass(frozen=True)
class Room:
    """Bytes of a device."""

    free: int
    whole: int


def checked(name: str, stage: Callable[..., Any]) -> Callable[..., Any]:
    """`stage`, a jitted function, which is refused with ValueError where it does not fit, before it runs.

    Nothing is compiled for that beside what the call itself needs. Each new shape of the arguments behind the first (a
    bucket of the data) is looked at once.
    """
    seen = set()

    def call(first: Any, *args: Any) -> Any:
        shapes = tuple((x.shape, x.dtype) for x in jax.tree.leaves(args))
        if shapes not in seen:
            seen.add(shapes)
            with process.as_one():
                refuse(name, need(name, stage, first, *args), room())
        return stage(first, *args)

    return call


def refuse(name: str, needed: Need | None, there: Room | None) -> None:
    """Raise ValueError where what is needed beside the arguments, which are there already, exceeds what is free."""
    if needed is None or there is None or needed.beside <= there.free:
        return
    raise ValueError(
        f"{name} does not fit into memory: beside {needed.arguments / GIB:.3g} GiB of arguments it needs"
        f" {needed.beside / GIB:.3g} GiB on each device, where {there.free / GIB:.3g} of {there.whole / GIB:.3g} GiB"
        f" are free: {REMEDY}"
    )


def need(name: str, stage: Any, *args: Any) -> Need | None:
    """What the program for these arguments takes; None where the compiler does not say."""
    try:
        # the call that follows finds the program compiled
        told = stage.lower(*args).compile().memory_analysis()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise ValueError(f"{name} does not fit into memory ({checkpoint.first_line(error)}): {REMEDY}") from error
    if told is None:
        return None
    beside = told.temp_size_in_bytes + told.output_size_in_bytes - told.alias_size_in_bytes
    return Need(told.argument_size_in_bytes, beside)


def room() -> Room | None:
    """Of the device of this process that has least; None where that is not known."""
    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        return machine(len(devices))
    stats = [device.memory_stats() or {} for device in devices]
    if not all("bytes_limit" in one for one in stats):
        return None
    rooms = [Room(one["bytes_limit"] - one.get("bytes_in_use", 0), one["bytes_limit"]) for one in stats]
    return min(rooms, key=lambda one: one.free)


def machine(devices: int, path: pathlib.Path = pathlib.Path("/proc/meminfo")) -> Room | None:
    """The share of one of `devices` in the machine's memory, where Linux tells it."""
    if not path.exists():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    free, whole = (int(lines[name].split()[0]) * 1024 // devices for name in ("MemAvailable", "MemTotal"))
    return Room(free, whole)
