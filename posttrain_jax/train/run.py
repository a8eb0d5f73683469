"""What every run does beside learning: its folder, resuming, logging, saving, stopping."""

import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import optax
from jaxtyping import PyTree

from posttrain_jax import types
from posttrain_jax.train import checkpoint, metrics, reference, update

Evaluate = Callable[[PyTree, int], Mapping[str, float]]
"""From parameters and step to numbers, logged as `eval/name`."""


@runtime_checkable
class Data(Protocol):
    """Batches without end that can be left and taken up again; `posttrain_jax.data.iterate.Batches` is one."""

    def __next__(self) -> Any:
        """The next batch."""
        ...

    def state(self) -> Any:
        """Where it stands, as JSON; the same in every process."""
        ...

    def restore(self, state: Any, /) -> None:
        """Go on where `state` was taken."""
        ...


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long a run goes on, and what it does when."""

    folder: pathlib.Path
    """Of the run: checkpoints, metrics, samples and what was run. A run that finds its checkpoint there goes on."""
    steps: int
    """Batches or rollouts."""
    micro_batches: int = 1
    """Parts that an update computes one after the other; saves memory, changes nothing else."""
    save_every: int = 100
    """Steps between checkpoints; the last step is always saved."""
    eval_every: int = 100
    """Steps between evaluations; one before the first step and one after the last are always done."""
    sample_every: int = 10
    """Steps between shown samples."""
    keep: int = 3
    """Checkpoints that are kept."""
    seed: int = 0
    """Of the run's key."""

    def __post_init__(self) -> None:
        """Refuse counts below 1."""
        for name in ("steps", "micro_batches", "save_every", "eval_every", "sample_every", "keep"):
            if vars(self)[name] < 1:
                raise ValueError(f"{name}={vars(self)[name]} must be at least 1.")


class Run:
    """A run under way; use as a context manager, so that what is being written gets written."""

    def __init__(self, plan: Plan, about: Mapping[str, str], loggers: Sequence[metrics.Logger]):
        """Open the folder.

        Args:
            plan: see `Plan`.
            about: what is run, in words; stored with the run.
            loggers: beside the JSON lines.
        """
        self.plan = plan
        # functions among a recipe's fields lie elsewhere in memory in every process
        self.about = {name: re.sub(r" at 0x[0-9a-f]+", "", text) for name, text in about.items()}
        self._checkpoints = checkpoint.Checkpoints(pathlib.Path(plan.folder) / "checkpoints", keep=plan.keep)
        self.start = self._checkpoints.latest() or 0
        """Steps that are already done."""
        self._logger = metrics.Several([])
        if jax.process_index() == 0:
            lines = metrics.JsonLines(plan.folder, resumed_step=self.start)
            self._logger = metrics.Several([lines, *loggers])

    def __enter__(self) -> "Run":
        """The run itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish writing."""
        self._checkpoints.close()
        self._logger.close()

    def begin(
        self, model: update.Model, optimizer: optax.GradientTransformation, params: PyTree, data: Data
    ) -> types.TrainState:
        """The state to go on from, `data` moved to its place: the newest checkpoint's, or a fresh one of `params`.

        Raises:
            ValueError: the checkpoint is damaged, or of another run: model, optimizer, order of the data or `about`
                (`compute` aside) differ.
        """
        if self.start == 0:
            key = jax.random.key(self.plan.seed)
            state = update.init_state(model, optimizer, key, params=reference.copy(params))
        else:
            snapshot = self._checkpoints.restore(update.abstract_state(model, optimizer))
            self._refuse_other(json.loads(snapshot.config))
            data.restore(snapshot.data)
            state = snapshot.state
        if jax.process_index() == 0:
            describe(pathlib.Path(self.plan.folder), self.about | {"plan": repr(self.plan)})
        return state

    def steps(self) -> Iterator[int]:
        """The steps to do; step n is the n-th."""
        return iter(range(self.start + 1, self.plan.steps + 1))

    def evaluate(self, evaluate: Evaluate | None, state: types.TrainState, step: int) -> dict[str, float]:
        """The numbers of an evaluation, where one is due."""
        due = step % self.plan.eval_every == 0 or step in (0, self.plan.steps)
        if evaluate is None or not due:
            return {}
        return {f"eval/{name}": float(x) for name, x in evaluate(state.params, step).items()}

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Report the numbers of a step."""
        if values:
            self._logger.log(step, values)

    def show(self, step: int, samples: Sequence[metrics.Shown]) -> None:
        """Report samples, where it is time."""
        if step % self.plan.sample_every == 0 or step == self.start + 1:
            self._logger.samples(step, samples)

    def save(self, step: int, state: types.TrainState, data: Data) -> None:
        """Save, where it is time. The numbers of the step must have been logged."""
        if step % self.plan.save_every == 0 or step == self.plan.steps:
            self._write(step, state, data.state())

    def stop(self, step: int, state: types.TrainState | None, position: Any, reason: str) -> RuntimeError:
        """The error that ends the run in the middle of `step`, everything before it being saved.

        Args:
            step: the one that failed.
            state: from before it, or None where that is gone: the newest checkpoint then stands.
            position: `data.state()` from before it.
            reason: what went wrong.
        """
        if state is not None:
            self._write(step - 1, state, position)
        saved = f"The run is saved as of step {self._checkpoints.latest() if state is None else step - 1}"
        return RuntimeError(f"step {step}: {reason} {saved} in {self.plan.folder}.")

    def _refuse_other(self, saved: Mapping[str, str]) -> None:
        """A run that goes on with another method would pass for one that had it from the beginning."""
        for name, text in self.about.items():
            if name != "compute" and saved.get(name) != text:
                raise ValueError(
                    f"{self.plan.folder} holds a run with {name} {saved.get(name)}, and this one has {text}: go on with"
                    " the same, or give another folder."
                )

    def _write(self, step: int, state: types.TrainState, position: Any) -> None:
        counters = {"step": step, "updates": int(state.step)}
        snapshot = checkpoint.Snapshot(state, position, counters, config=json.dumps(self.about))
        self._checkpoints.save(step, snapshot)


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


def describe(folder: pathlib.Path, about: Mapping[str, str]) -> None:
    """Write `run.json`: what is run, by which command, at which commit."""
    commit = None
    if shutil.which("git"):
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
        commit = git.stdout.strip() or None
    facts = {"command": sys.argv, "commit": commit, "jax": jax.__version__}
    (folder / "run.json").write_text(json.dumps(dict(about) | facts, indent=2) + "\n", encoding="utf-8")
