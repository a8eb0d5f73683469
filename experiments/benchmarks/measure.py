"""What the benchmarks share: seconds by phase, peak memory, and the JSON line that each measurement prints."""

import dataclasses
import json
import resource
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax


class Watch:
    """Seconds of each phase of each step."""

    def __init__(self) -> None:
        self.phases: dict[str, list[float]] = {}
        self._processor: dict[str, list[float]] = {}

    def time(self, phase: str, function: Callable[..., Any], *args: Any) -> Any:
        """The result of `function(*args)`, once it is there."""
        begin, used = time.perf_counter(), time.process_time()
        result = jax.block_until_ready(function(*args))
        self.phases.setdefault(phase, []).append(time.perf_counter() - begin)
        self._processor.setdefault(phase, []).append(time.process_time() - used)
        return result

    def report(self, name: str, sizes: Any, *, tokens: int, **facts: Any) -> None:
        """Print a line: medians without the first two steps (the first compiles), and the first step by itself.

        `cpu_seconds` is the processor's time of the whole process, which on a busy machine says more than the clock.
        """
        seconds = {phase: statistics.median(times[2:]) for phase, times in self.phases.items()}
        line = {"name": name, "sizes": dataclasses.asdict(sizes), "seconds": _rounded(seconds)}
        line["cpu_seconds"] = _rounded({phase: statistics.median(x[2:]) for phase, x in self._processor.items()})
        line |= {"step": round(sum(seconds.values()), 4), "first": round(sum(x[0] for x in self.phases.values()), 2)}
        line |= {"tokens_per_second": round(tokens / sum(seconds.values())), **_rounded(peak()), **facts}
        versions = {package: metadata.version(package) for package in ("jax", "jaxlib", "flax", "optax")}
        print(json.dumps(line | {"versions": versions, "device": jax.devices()[0].device_kind}), flush=True)


def enough(steps: int) -> None:
    """End here where `report` would have nothing to take a median of."""
    if steps < 3:
        raise SystemExit(f"{steps} steps leave none to measure, as the first two are left out: take at least 3.")


def peak() -> dict[str, float]:
    """The most memory held so far: the device's where it tells, else the process's."""
    stats = jax.devices()[0].memory_stats()
    if stats is not None and "peak_bytes_in_use" in stats:
        return {"peak_device_gib": stats["peak_bytes_in_use"] / 2**30}
    return {"peak_process_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
