"""The process that scores samples. It loads the standard library and what the rewards import, nothing else of ours."""

import contextlib
import dataclasses
import math
import pathlib
import pickle
import random
import resource
import runpy
import signal
import sys
import traceback
import types
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection

from posttrain_jax.rewards import sample as samples

LARGEST = 3.0e38
"""Scores become float32."""

SCRIPT = "__reward_script__"
"""What `__name__` is when a worker runs the script that defines a reward: not `__main__`, so its work is not begun."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a reward call gave no score. All scores that one call failed to give hold the same object."""

    kind: str
    """One of "errors", "invalid", "timeouts", "crashes": the counters of the report."""
    text: str


@dataclasses.dataclass(frozen=True)
class Ready:
    """The rewards are loaded."""


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a worker is told once."""

    rewards: bytes
    """Pickled, so that the worker may first import the module they come from."""
    script: str | None
    """The running script, where a reward is defined in it."""
    timeout_s: float
    memory_bytes: int | None


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker does at once, within the time limit: one sample for its rewards, or a group for its."""

    samples: tuple[samples.Sample, ...]
    columns: tuple[int, ...]
    """Of the rewards, by their place."""


Outcome = float | tuple[float, ...] | Failure
"""A score, or the row of a sample in its group's comparisons."""


def check(value: object) -> float | Failure:
    """The value as a float, or why it is no score. NaN is one: the reward does not apply."""
    if not isinstance(value, str | bytes):
        try:
            score = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            score = math.inf
        if math.isnan(score) or abs(score) <= LARGEST:
            return score
    return Failure("invalid", f"returned {value!r:.200}, which is not a finite number or NaN")


def evaluate(rewards: Sequence[samples.AnyReward], job: Job) -> list[list[Outcome]]:
    """What each reward of the job says of its samples: [reward][sample]."""
    outcomes: list[list[Outcome]] = []
    for reward in (rewards[column] for column in job.columns):
        # The reward is anyone's code and the completion anyone's text: every exception is counted and shown.
        try:
            if isinstance(reward, samples.Comparing):
                outcomes.append(_check_rows(reward.compare_group(job.samples), len(job.samples)))
            elif isinstance(reward, samples.GroupReward):
                outcomes.append(_check_group(reward.score_group(job.samples), len(job.samples)))
            else:
                outcomes.append([check(reward(sample)) for sample in job.samples])
        except Exception:
            outcomes.append([Failure("errors", traceback.format_exc()[-2000:].strip())] * len(job.samples))
    return outcomes


def _check_group(values: object, count: int) -> list[Outcome]:
    scores = list(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes) else []
    if len(scores) == count:
        return [check(score) for score in scores]
    return [Failure("invalid", f"returned {values!r:.200}, which is not {count} scores")] * count


def _check_rows(values: object, count: int) -> list[Outcome]:
    """A row of probabilities for each sample, or one reason why there is none."""
    rows = list(values) if isinstance(values, Iterable) and not isinstance(values, str | bytes) else []
    found = [_check_group(row, count) for row in rows]
    numbers = [tuple(x for x in row if isinstance(x, float) and not (x < 0 or x > 1)) for row in found]
    if [len(row) for row in numbers] == [count] * count:
        return list(numbers)
    return [Failure("invalid", f"returned {values!r:.200}, not {count} rows of {count} probabilities")] * count


def serve(descriptor: int) -> None:
    """Answer jobs on the socket until the other end closes it."""
    connection = Connection(descriptor)
    setup: Setup = connection.recv()
    try:
        rewards = _load(setup)
    except Exception:
        connection.send(Failure("errors", traceback.format_exc()[-2000:].strip()))
        return
    connection.send(Ready())
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        random.seed(0)
        # The pool kills in time; should the pool's process itself be killed, the alarm's default action ends this one.
        signal.setitimer(signal.ITIMER_REAL, setup.timeout_s * len(job.samples) + 2)
        outcomes = evaluate(rewards, job)
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(outcomes)


def _load(setup: Setup) -> Sequence[samples.AnyReward]:
    if setup.script is not None:
        module = types.ModuleType(SCRIPT)
        module.__dict__.update(runpy.run_path(setup.script, run_name=SCRIPT))
        sys.modules["__main__"] = sys.modules[SCRIPT] = module
    rewards = pickle.loads(setup.rewards)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # where memory runs out, Linux shall end a worker, which is replaced, and not the run
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/oom_score_adj").write_text("1000")
    if setup.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (setup.memory_bytes, setup.memory_bytes))
    return rewards
