"""Where numbers and samples of a run go: always to JSON lines, and to any other `Logger`."""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

FILES = ("metrics.jsonl", "samples.jsonl")
"""Of a run's folder."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """A sample to look at."""

    prompt: str
    completion: str
    reward: float
    """NaN where scoring failed."""


@runtime_checkable
class Logger(Protocol):
    """Takes what a run reports."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of one step."""
        ...

    def samples(self, step: int, shown: Sequence[Shown]) -> None:
        """A few samples of one step."""
        ...

    def close(self) -> None:
        """Write out what is still held back."""
        ...


@dataclasses.dataclass(frozen=True)
class Several:
    """Passes everything on to each of `loggers`."""

    loggers: Sequence[Logger]

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The numbers of one step."""
        for logger in self.loggers:
            logger.log(step, values)

    def samples(self, step: int, shown: Sequence[Shown]) -> None:
        """A few samples of one step."""
        for logger in self.loggers:
            logger.samples(step, shown)

    def close(self) -> None:
        """Close each."""
        for logger in self.loggers:
            logger.close()


class JsonLines:
    """`metrics.jsonl` and `samples.jsonl` of a run's folder, each line written out at once.

    Lines beyond the resumed step, and a last line that a kill cut short, are dropped: the steps are run again.
    """

    def __init__(self, folder: str | pathlib.Path, *, resumed_step: int = 0):
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._files = {}
        for name in FILES:
            path = folder / name
            # a run that starts afresh logs its step 0, the evaluation before the first update, again
            keep_until(path, resumed_step or -1)
            self._files[name] = path.open("a", encoding="utf-8")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One line `{"step": ..., name: number, ...}`; what is not finite becomes null."""
        self._write("metrics.jsonl", {"step": step} | {name: plain(x) for name, x in values.items()})

    def samples(self, step: int, shown: Sequence[Shown]) -> None:
        """One line for each sample."""
        for sample in shown:
            fields = {"prompt": sample.prompt, "completion": sample.completion, "reward": plain(sample.reward)}
            self._write("samples.jsonl", {"step": step} | fields)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            # each line was written out when it came: where the disk is full, that was said
            with contextlib.suppress(OSError):
                file.close()

    def _write(self, name: str, line: dict[str, Any]) -> None:
        try:
            self._files[name].write(json.dumps(line) + "\n")
            self._files[name].flush()
        except OSError as error:
            raise RuntimeError(
                f"{self._files[name].name} could not be written ({error.strerror}): make room on its disk and give the"
                " same command again, which goes on from the newest checkpoint."
            ) from error


class Clock:
    """Seconds of the phases of one step."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside as `name`; wait inside for what devices still compute."""
        begin = time.monotonic()
        yield
        self.seconds[f"seconds/{name}"] = time.monotonic() - begin

    def report(self, tokens: float) -> dict[str, float]:
        """The phases, the whole step, and the speed."""
        whole = time.monotonic() - self._begin
        return self.seconds | {"seconds/step": whole, "tokens_per_second": tokens / whole}


def plain(x: float) -> float | None:
    """A number that JSON knows."""
    return float(x) if math.isfinite(x) else None


def read(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """The whole lines of a JSON-lines file; a line that a kill or a power cut spoilt ends the file."""
    path = pathlib.Path(path)
    lines = []
    # what a power cut leaves need not be text
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break
        if not isinstance(line, dict):
            break
        lines.append(line)
    return lines


def keep_until(path: pathlib.Path, step: int) -> None:
    """Drop the lines of `path` beyond `step`, in one move: a kill leaves the old file or the new one."""
    if not path.exists():
        return
    kept = [line for line in read(path) if line["step"] <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    os.replace(temporary, path)


class TensorBoard:
    """Event files for TensorBoard."""

    def __init__(self, folder: str | pathlib.Path):
        try:
            import tensorboardX  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                "TensorBoard logs need tensorboardX: install it with `pip install posttrain_jax[tensorboard]`."
            ) from error
        self._writer = tensorboardX.SummaryWriter(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar for each number."""
        for name, x in values.items():
            self._writer.add_scalar(name, x, step)

    def samples(self, step: int, shown: Sequence[Shown]) -> None:
        """One text for each sample."""
        for index, sample in enumerate(shown):
            text = f"reward {sample.reward:g}\n\n    {sample.prompt}\n\n    {sample.completion}"
            self._writer.add_text(f"sample/{index}", text, step)

    def close(self) -> None:
        """Write out and close."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases."""

    def __init__(self, *, project: str, name: str, folder: str | pathlib.Path, config: Mapping[str, Any]):
        try:
            import wandb  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                "Weights & Biases logs need wandb: install it with `pip install posttrain_jax[wandb]`."
            ) from error
        self._wandb = wandb
        self._run = wandb.init(project=project, name=name, dir=str(folder), config=dict(config))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """All numbers of a step."""
        self._run.log(dict(values), step=step)

    def samples(self, step: int, shown: Sequence[Shown]) -> None:
        """A table."""
        rows = [[sample.prompt, sample.completion, sample.reward] for sample in shown]
        self._run.log({"samples": self._wandb.Table(["prompt", "completion", "reward"], rows)}, step=step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()
