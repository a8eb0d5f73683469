"""Does the program in the completion pass its tests? It runs in a sandbox: see `sandbox.run`."""

import dataclasses
import math
from collections.abc import Mapping

from posttrain_jax.rewards import extract as extracts
from posttrain_jax.rewards import sample as samples
from posttrain_jax.rewards import sandbox


def lines(text: str) -> list[str]:
    """Its lines, without white space at their ends and without empty lines at its end."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


@dataclasses.dataclass(frozen=True)
class PassedTests:
    """The share of the example's tests that a Python program passes.

    A test is a mapping of `input`, what the program reads on standard input, and `output`, what it must print, compared
    by `lines`; it must also end with exit code 0 within the limits. Each test has a fresh process. No program gives 0,
    no tests give NaN. The share pays for programs that print what is often right:
    `task_answer.FullMarks(PassedTests(...))` pays for passing all.

    A machine that cannot wall programs in is refused when the reward is made, and later counts as an error, never as a
    failed test. The pool's `timeout_s` must hold all tests of a sample.
    """

    limits: sandbox.Limits
    """Of each test."""
    extract: extracts.Extract = extracts.LastFence("python")
    """From the completion to the program; None gives 0."""
    tests_field: str = "tests"

    def __post_init__(self):
        """Refuse a machine without walls."""
        sandbox.run("", "", sandbox.Limits(time_s=60.0, memory_bytes=1 << 30))

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1], or NaN."""
        tests = samples.field(sample, self.tests_field)
        if not tests:
            return math.nan
        program = self.extract(sample.completion)
        if program is None:
            return 0.0
        return sum(self._passes(program, test) for test in tests) / len(tests)

    def _passes(self, program: str, test: Mapping[str, str]) -> bool:
        done = sandbox.run(program, test["input"], self.limits)
        return done.exit_code == 0 and lines(done.output) == lines(test["output"])
