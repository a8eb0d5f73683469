"""What every run does beside learning: its folder, resuming, logging, saving, stopping."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import optax
from jaxtyping import PyTree

from posttrain_jax import types
from posttrain_jax.data import iterate
from posttrain_jax.models import lora
from posttrain_jax.train import checkpoint, checks, interruption, leaf, metrics, process, provenance, reference, update

NOT_FINITE = "loss or gradient is not finite, so the update was left out: lower the learning rate."

Evaluate = Callable[[PyTree, int], Mapping[str, float]]
"""From parameters and step to numbers, logged as `eval/name`."""


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
        """Refuse counts below 1, and seeds that not everything takes."""
        for name in ("steps", "micro_batches", "save_every", "eval_every", "sample_every", "keep"):
            if vars(self)[name] < 1:
                raise ValueError(f"{name}={vars(self)[name]} must be at least 1.")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed={self.seed} must be at least 0 and below 2**63.")


class Run:
    """A run under way; use as a context manager, so that what is being written gets written."""

    def __init__(self, plan: Plan, about: Mapping[str, str], loggers: Sequence[metrics.Logger]):
        """Open the folder.

        Args:
            plan: see `Plan`.
            about: what is run, in words; stored with the run.
            loggers: beside the JSON lines.

        Raises:
            ValueError: the folder cannot be written to, or another process trains in it.
        """
        folder = pathlib.Path(plan.folder)
        with process.as_one():
            self._made, self._lock = checks.writable(folder), process.Lock(folder)
        self.plan, self.about = plan, provenance.complete(about)
        self._checkpoints = checkpoint.Checkpoints(folder / "checkpoints", keep=plan.keep)
        self.start = 0
        """Steps that are already done, once the run has begun."""
        self.frozen: PyTree = {}  # the base under adapters, once the run has begun
        self._interruption = interruption.Interruption()
        self._loggers, self._logger = loggers, metrics.Several([])
        self._last: tuple[int, types.TrainState, Any, reference.Reference] | None = None

    def __enter__(self) -> "Run":
        """The run itself."""
        self._interruption.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish writing; after an error, save what was trained before it, and leave nothing if that is nothing."""
        try:
            if kind is not None and issubclass(kind, Exception):
                self._rescue()
            self._checkpoints.close()
        finally:
            self._logger.close()
            self._lock.release()
            provenance.withdraw(pathlib.Path(self.plan.folder), made=self._made)
            self._interruption.__exit__()

    def begin(
        self,
        model: update.Model,
        optimizer: optax.GradientTransformation,
        params: PyTree,
        data: iterate.Data,
        *,
        memory: PyTree,
        ref: reference.Reference,
    ) -> types.TrainState:
        """The state to go on from: the newest whole checkpoint's, `data` and `ref` moved to its place, or a fresh one.

        Args: as they are before the first step; `params` are copied. A base under adapters is neither copied nor saved:
        the checkpoint holds its checksum.

        Raises:
            ValueError: batches do not divide, the disk has no room, no checkpoint is whole, or it is one of another
                run: model, base, reference, order of data or `about` (`compute` and `optimizer` aside) differ;
                processes differ.
        """
        checks.fit(model.abstract_params(), params)
        params, self.frozen = lora.split(params)
        wanted = update.abstract_state(model, optimizer, memory)
        moved = ref.abstract(wanted.params)
        checks.batch(iterate.ahead(data), self.plan.micro_batches, model.row_shards)
        with process.as_one():
            checks.disk(self._checkpoints.folder, (wanted, moved), self._saves_ahead())
        self.about |= provenance.of_weights("base", self.frozen, model.mesh)
        self.about |= provenance.of_weights("ref", ref.still, model.mesh)
        if self._checkpoints.latest() is None:
            key = jax.random.key(self.plan.seed)
            state = update.init_state(model, optimizer, key, params=reference.copy(params), memory=memory)
        else:
            snapshot = self._checkpoints.restore(wanted, moved, accept=self._refuse_another)
            self.start = snapshot.counters["step"]
            self.about = provenance.follow(self.plan.folder, self.start, json.loads(snapshot.config), self.about)
            data.restore(snapshot.data)
            state = snapshot.state
            ref.restore(snapshot.ref_params)
        folder, about = pathlib.Path(self.plan.folder), self.about | {"plan": repr(self.plan)}
        if jax.process_index() == 0:
            if self.start < self.plan.steps:  # the record of a finished run stays as it is
                provenance.write(folder, about)
            self._logger = metrics.Several([metrics.JsonLines(folder, resumed_step=self.start), *self._loggers])
        one = json.dumps([self.start, provenance.agreed(about), leaf.packed(data.state())])
        process.agree(one, "has another run, or other data, than the first")
        process.agree(str((folder / "run.json").exists()), f"does not find in {folder} what the first wrote")
        return state

    def steps(self) -> Iterator[int]:
        """The steps to do; step n is the n-th."""
        if self.start >= self.plan.steps:
            process.tell(
                f"{self.plan.folder} holds a run of {self.start} steps and {self.plan.steps} are asked for, so nothing"
                " is left to do: ask for more steps to go on, or give another folder to begin again."
            )
        return iter(range(self.start + 1, self.plan.steps + 1))

    def evaluate(self, evaluate: Evaluate | None, state: types.TrainState, step: int) -> dict[str, float]:
        """The numbers of an evaluation, where one is due."""
        due = step % self.plan.eval_every == 0 or step in (0, self.plan.steps)
        if evaluate is None or not due:
            return {}
        return {f"eval/{name}": float(x) for name, x in evaluate(self.whole(state), step).items()}

    def whole(self, state: types.TrainState) -> PyTree:
        """The model's parameters: the state's, and the base where they are adapters."""
        return lora.join(state.params, self.frozen)

    def before(self, evaluate: Evaluate | None, state: types.TrainState) -> None:
        """Evaluate a run that has not begun."""
        if self.start == 0:
            self.log(0, self.evaluate(evaluate, state, 0))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Report the numbers of a step; what fails here is raised when they are saved."""
        if values:
            with self._interruption.postponing():
                self._logger.log(step, values)

    def show(self, step: int, samples: Sequence[metrics.Shown]) -> None:
        """Report samples, where it is time; likewise."""
        if step % self.plan.sample_every == 0 or step == self.start + 1:
            with self._interruption.postponing():
                self._logger.samples(step, samples)

    def save(self, step: int, state: types.TrainState, data: iterate.Data, ref: reference.Reference) -> None:
        """Save, where it is time. The numbers of the step must have been logged.

        Raises:
            SystemExit: the run was asked to end, and is saved as of this step: 143 after SIGTERM, 130 after SIGINT.
            ValueError: there is no room for a checkpoint.
            RuntimeError: a checkpoint could not be written; or another process could not report, and the run is saved.
        """
        self._last = step, state, data.state(), ref
        self._checkpoints.check()
        ended = self._interruption.agreed(last=step == self.plan.steps)
        if ended or step % self.plan.save_every == 0 or step == self.plan.steps:
            self._write(*self._last)
        if ended:
            self._checkpoints.wait()
            process.tell(
                f"The run is saved as of step {step} in {self.plan.folder}: the same command goes on from there."
            )
            raise self._interruption.end()

    def stop(
        self, step: int, state: types.TrainState | None, position: Any, reason: str, ref: reference.Reference
    ) -> RuntimeError:
        """The error that ends the run in the middle of `step`, everything before it being saved.

        Args:
            step: the one that failed.
            state: from before it, or None where that is gone: the newest checkpoint then stands.
            position: `data.state()` from before it.
            reason: what went wrong.
            ref: the reference from before it.

        Raises:
            ValueError: the state holds NaN and is not worth saving; the newest checkpoint stands.
        """
        if state is not None:
            with process.as_one():
                checks.parameters(self.whole(state))
            self._write(step - 1, state, position, ref)
        self._checkpoints.wait()
        saved = f"The run is saved as of step {self._checkpoints.latest() if state is None else step - 1}"
        return RuntimeError(f"step {step}: {reason} {saved} in {self.plan.folder}.")

    def _rescue(self) -> None:
        """Save as of the last whole step, where its state has not been given away to the next update."""
        # on a pod the others may be in the middle of a step, and a save takes all of them
        if self._last is None or self._checkpoints.failed or jax.process_count() > 1:
            return
        step, state = self._last[:2]
        if (self._checkpoints.latest() or 0) < step and not any(x.is_deleted() for x in jax.tree.leaves(state)):
            self._write(*self._last)
            self._checkpoints.wait()
            process.tell(f"The run is saved as of step {step} in {self.plan.folder}.")

    def _refuse_another(self, config: str) -> None:
        provenance.refuse(self.plan.folder, self.about, json.loads(config))

    def _saves_ahead(self) -> int:
        """Checkpoints that will be on disk at one time beside those that are."""
        left = self.plan.steps - (self._checkpoints.latest() or 0)
        return max(0, min(math.ceil(left / self.plan.save_every), self.plan.keep + 1 - self._checkpoints.count()))

    def _write(self, step: int, state: types.TrainState, position: Any, ref: reference.Reference) -> None:
        counters, config = {"step": step, "updates": int(state.step)}, json.dumps(self.about)
        snapshot = checkpoint.Snapshot(state, position, counters, config, ref_params=ref.saved())
        self._checkpoints.save(step, snapshot)
