"""Score samples in worker processes that are killed when they take too long."""

import collections
import contextlib
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing import connection as connections

from posttrain_jax.rewards import combine, report, worker
from posttrain_jax.rewards import sample as samples

START_TIMEOUT_S = 120.0
"""Python, the rewards' modules and, for a reward defined in a script, the script's imports."""

COMMAND = "import sys; sys.path[:] = {path!r}; from posttrain_jax.rewards import worker; worker.serve({descriptor})"

Answer = list[list[worker.Outcome]]
"""Of a job: [reward][sample]."""


class _Process:
    """One worker: a fresh interpreter (nothing is forked) in its own session, joined to us by a socket."""

    def __init__(self, setup: worker.Setup):
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", COMMAND.format(path=sys.path, descriptor=theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                # A reward that imports jax must not take the accelerator; the order of sets must not vary.
                env={**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONHASHSEED": "0"},
            )
        self.connection = connections.Connection(ours.detach())
        self.ready = False
        self.index: int | None = None
        self.job = worker.Job((), ())
        self.deadline = time.monotonic() + START_TIMEOUT_S
        # A worker that died at once is noticed when its answer is awaited.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(setup)

    def submit(self, index: int, job: worker.Job, timeout_s: float) -> None:
        self.index, self.job = index, job
        self.deadline = time.monotonic() + timeout_s * len(job.samples)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(job)

    def kill(self) -> int:
        """End the process and all that it started; its exit status (negative: the signal)."""
        self.connection.close()
        # It leads its own process group, and is not reaped before the wait: the id cannot belong to another.
        # (macOS refuses where only the dead leader is left of the group.)
        with contextlib.suppress(PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()


class RewardPool:
    """Persistent workers, each scoring one sample, or one group, at a time; use as a context manager.

    A sample that takes longer than `timeout_s` has its worker killed (with every process it started) and replaced. An
    exception, timeout, crash or nonsense return gives NaN and is counted in the report; it never becomes 0. Scores do
    not depend on which worker is free: they come in the samples' order, and each job starts from `random.seed(0)`.

    With `workers=0` the rewards run in this process, without time or memory limit: for trivial rewards only.
    """

    def __init__(
        self,
        rewards: combine.WeightedRewards,
        *,
        workers: int,
        timeout_s: float,
        memory_bytes: int | None = None,
    ):
        """Start the workers without waiting for them.

        Args:
            rewards: what to score, by name and weight.
            workers: processes.
            timeout_s: seconds for all rewards of one sample, on the wall clock; all group rewards of a prompt together
                have as much for each of its samples.
            memory_bytes: address space of one worker (RLIMIT_AS), libraries included; numpy alone maps about 1 GiB.
        """
        if workers < 0 or not timeout_s > 0:
            raise ValueError(f"workers={workers} must not be negative and timeout_s={timeout_s} must be above 0.")
        if worker.SCRIPT in sys.modules:
            raise RuntimeError(
                "a reward worker imports the script that defines its reward: put the script's own work "
                'under `if __name__ == "__main__":`.'
            )
        self._rewards = rewards
        self._timeout_s = timeout_s
        self._setup = _setup(rewards, timeout_s, memory_bytes) if workers else None
        self._workers = [_Process(self._setup) for _ in range(workers)] if self._setup else []

    def __enter__(self) -> "RewardPool":
        """The pool itself."""
        return self

    def __exit__(self, *exception) -> None:
        """Close."""
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the rewards, in the order of the columns."""
        return self._rewards.names

    def close(self) -> None:
        """Kill the workers; the pool is of no use afterwards. Closing twice is harmless."""
        while self._workers:
            self._workers.pop().kill()

    def score(self, rows: Sequence[Sequence[samples.Sample]]) -> report.Scores:
        """Scores of P rows of G samples each."""
        sizes = {len(row) for row in rows}
        if len(sizes) != 1:
            raise ValueError(f"rows of {sorted(sizes)} samples cannot be scored together; give P rows of G samples.")
        jobs = _jobs(self._rewards, rows)
        if self._setup is None:
            answers = [worker.evaluate(self._rewards.rewards, job) for _, job in jobs]
        else:
            answers = self._score([job for _, job in jobs])
        outcomes: list[list[worker.Outcome]] = [[math.nan] * len(self.names) for row in rows for _ in row]
        for (start, job), answer in zip(jobs, answers, strict=True):
            for column, scores in zip(job.columns, answer, strict=True):
                for offset, outcome in enumerate(scores):
                    outcomes[start + offset][column] = outcome
        return report.assemble(outcomes, (len(rows), sizes.pop()), self._rewards)

    def _score(self, jobs: Sequence[worker.Job]) -> list[Answer]:
        if not self._workers:
            raise RuntimeError("the reward pool is closed; build another one.")
        answers: dict[int, Answer] = {}
        pending = collections.deque(range(len(jobs)))
        try:
            while len(answers) < len(jobs):
                for process in self._workers:
                    if pending and process.ready and process.index is None:
                        index = pending.popleft()
                        process.submit(index, jobs[index], self._timeout_s)
                self._collect(answers)
        except BaseException:
            # Answers still under way would be taken for those of the next call.
            self.close()
            raise
        return [answers[index] for index in range(len(jobs))]

    def _collect(self, answers: dict[int, Answer]) -> None:
        """Wait for the next answer, death or deadline, and deal with it."""
        awaited = [process for process in self._workers if process.index is not None or not process.ready]
        patience = max(0.0, min(process.deadline for process in awaited) - time.monotonic())
        answered = connections.wait([process.connection for process in awaited], patience)
        for process in awaited:
            if process.connection in answered:
                self._receive(process, answers)
            elif time.monotonic() >= process.deadline:
                limit = self._timeout_s * len(process.job.samples)
                self._fail(process, "timeouts", f"took longer than {limit:g} s", answers)

    def _receive(self, process: _Process, answers: dict[int, Answer]) -> None:
        try:
            answer = process.connection.recv()
        except (EOFError, ConnectionResetError):
            self._fail(process, "crashes", "the worker died", answers)
            return
        if isinstance(answer, worker.Failure):
            raise RuntimeError(f"the rewards cannot be loaded in a worker process:\n{answer.text}")
        if isinstance(answer, worker.Ready):
            process.ready = True
        elif process.index is not None:
            answers[process.index] = answer
            process.index = None

    def _fail(self, process: _Process, kind: str, text: str, answers: dict[int, Answer]) -> None:
        """Give up the job that `process` has, and replace the process."""
        status = process.kill()
        self._workers.remove(process)
        if process.index is None or self._setup is None:
            raise RuntimeError(
                f"a reward worker did not start ({kind}, exit status {status}) within {START_TIMEOUT_S:g} s: try the "
                "rewards with workers=0, and memory_bytes=None if it is set."
            )
        failure = worker.Failure(kind, f"{text} (exit status {status})")
        answers[process.index] = [[failure] * len(process.job.samples)] * len(process.job.columns)
        self._workers.append(_Process(self._setup))


def _jobs(rewards: combine.WeightedRewards, rows: Sequence[Sequence[samples.Sample]]) -> list[tuple[int, worker.Job]]:
    """What there is to do, each with the place of its first sample among all."""
    of_group = [isinstance(reward, samples.GroupReward) for reward in rewards.rewards]
    single = tuple(column for column, whole in enumerate(of_group) if not whole)
    grouped = tuple(column for column, whole in enumerate(of_group) if whole)
    size = len(rows[0])
    jobs = [
        (place * size + offset, worker.Job((sample,), single))
        for place, row in enumerate(rows)
        for offset, sample in enumerate(row)
        if single
    ]
    return jobs + [(place * size, worker.Job(tuple(row), grouped)) for place, row in enumerate(rows) if row and grouped]


def _setup(rewards: combine.WeightedRewards, timeout_s: float, memory_bytes: int | None) -> worker.Setup:
    try:
        payload = pickle.dumps(rewards.rewards)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"a reward cannot be sent to a worker process ({error}); make it a module-level function or a frozen "
            "dataclass with __call__, or use workers=0."
        ) from error
    script = None
    if b"__main__" in payload:
        script = vars(sys.modules["__main__"]).get("__file__")
        if script is None:
            raise ValueError("a reward is defined interactively; put it into a module, or use workers=0.")
    return worker.Setup(payload, script, timeout_s, memory_bytes)
