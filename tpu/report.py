"""The plan in words."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import chip
import work

GIB, GB = 2**30, 1e9


@dataclasses.dataclass(frozen=True)
class Phase:
    """What one compiled program takes of a chip."""

    name: str
    compile_seconds: float
    memory: Any
    """`memory_analysis()`, or None where the program does not fit."""
    work: work.Work | None
    kernels: tuple[float, float, int]
    """FLOPs, bytes and number of kernel calls; see `kernel.count`."""

    @property
    def bytes(self) -> float:
        """Of memory in all; infinite where the compiler found no way to fit."""
        m = self.memory
        if m is None:
            return float("inf")
        new = m.output_size_in_bytes - m.alias_size_in_bytes
        return m.argument_size_in_bytes + m.temp_size_in_bytes + new

    def seconds(self, peaks: chip.Chip) -> Mapping[str, float]:
        """What each resource takes at its peak."""
        if self.work is None:
            return {"arithmetic": 0.0, "memory": 0.0, "links": 0.0}
        sent = sum(one.bytes for one in self.work.collectives)
        return {
            "arithmetic": (self.work.flops + self.kernels[0]) / peaks.flops,
            "memory": (self.work.bytes + self.kernels[1]) / peaks.memory_rate,
            "links": sent / (2 * peaks.link_rate),
        }


def heading(config: Any, chips: int, mesh: Mapping[str, int]) -> str:
    """What is planned, every setting named."""
    sizes = " ".join(f"{name}={value}" for name, value in vars(config.sizes).items())
    axes = " x ".join(f"{name} {size}" for name, size in mesh.items())
    stored = ",".join(config.stored) or "nothing"
    return (
        f"{config.model.name} on {config.topology}: {chips} chips as {axes}\n{sizes}"
        f" micro_batches={config.micro_batches} dtype={config.dtype} param_dtype={config.param_dtype} stored={stored}"
        f" head_chunk={config.head_chunk} attention={config.attention}"
    )


def of_phase(phase: Phase, peaks: chip.Chip) -> str:
    """One phase, every figure of one chip."""
    title = f"\n{phase.name} (compiled in {phase.compile_seconds:.0f} s)"
    if phase.work is None:
        return f"{title}\n  memory      more than the {peaks.memory / GIB:.2f} GiB of a chip: the compiler gave up"
    m, seconds = phase.memory, phase.seconds(peaks)
    longest = max(seconds.values())
    shares = ", ".join(f"{name} {100 * value / longest:.0f} %" for name, value in seconds.items())
    flops, traffic, calls = phase.kernels
    limit = "at most, all loops running to their end: " if phase.work.at_most else ""
    lines = [
        f"memory      {phase.bytes / GIB:.2f} of {peaks.memory / GIB:.2f} GiB: arguments"
        f" {m.argument_size_in_bytes / GIB:.2f}, temporaries {m.temp_size_in_bytes / GIB:.2f}, new results"
        f" {(m.output_size_in_bytes - m.alias_size_in_bytes) / GIB:.2f}",
        f"arithmetic  {limit}{(phase.work.flops + flops) / 1e12:.1f} TFLOP,"
        f" {flops / 1e12:.1f} of it in {calls} kernels",
        f"traffic     {(phase.work.bytes + traffic) / GB:.0f} GB, {traffic / GB:.0f} of it inside kernels",
        *(f"links       {text}" for text in links(phase.work)),
        f"roofline    {longest:.2f} s at least, of this: {shares}",
    ]
    return "\n  ".join([title, *lines])


def links(done: work.Work) -> list[str]:
    """A line for each kind of collective."""
    found = [
        f"{kind} {sent / GB:.2f} GB" + (f", {inside / GB:.2f} of it inside loops" if inside else ", none inside a loop")
        for kind, sent, inside in work.by_kind(done.collectives)
    ]
    return found or ["nothing crosses chips"]


def verdict(phases: Sequence[Phase], peaks: chip.Chip, topology: str) -> str:
    """One sentence."""
    worst, limit = max(phases, key=lambda phase: phase.bytes), f"{peaks.memory / GIB:.2f} GiB a chip"
    if worst.bytes > peaks.memory:
        over = " and ".join(phase.name for phase in phases if phase.bytes > peaks.memory)
        return (
            f"\nThis does not fit {topology}: {over} would take more than {limit}; take more micro-batches,"
            " store less, a larger tensor or fsdp axis, or more chips."
        )
    times = {phase.name: max(phase.seconds(peaks).values()) for phase in phases}
    parts = ", ".join(f"{name} {value:.2f}" for name, value in times.items())
    return (
        f"\nThis fits {topology}: at most {worst.bytes / GIB:.2f} of {limit} ({worst.name}), and at least "
        f"{sum(times.values()):.2f} s a step ({parts})."
    )
