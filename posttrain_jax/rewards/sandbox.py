"""Run a program that nobody has read: without network, with limited memory and time, and with nothing to write to.

Linux only. The program is a grandchild in name spaces of its own (user, network, processes, mounts): it reaches no
network, not even this machine's; it can neither see nor signal other processes; all file systems are read-only but a
small `/tmp` in memory, and `/proc` is empty; it keeps no privileges and gets no environment variables. The first
process of the name space is ours: when it ends, the kernel ends whatever the program has started. Where a machine does
not allow all of this, nothing is run.

It is a wall, not a vault: files that anyone may read can be read, and the kernel is shared.
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile

JAIL = pathlib.Path(__file__).with_name("jail.py")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one run may use. `/tmp` holds 16 MiB."""

    time_s: float
    """Seconds on the wall clock."""
    memory_bytes: int
    """Address space of each process, the interpreter's own tens of MiB included."""
    output_bytes: int = 1 << 20
    """Of standard output, and of any file."""
    processes: int = 16
    """Threads included."""

    def __post_init__(self):
        """Refuse limits that nothing can keep."""
        if not (self.time_s > 0 and self.memory_bytes > 0 and self.output_bytes > 0 and self.processes > 0):
            raise ValueError(f"all limits must be above 0: {self}")


@dataclasses.dataclass(frozen=True)
class Finished:
    """How a run ended."""

    exit_code: int | None
    """0 where all went well; negative where a signal ended it; None where it was killed because time ran out."""
    output: str
    """Standard output; bytes that are no UTF-8 are replaced."""


def run(program: str, given: str, limits: Limits) -> Finished:
    """Run Python source with `given` as standard input, in a fresh interpreter without the packages of this one.

    Raises:
        RuntimeError: this machine does not allow the walls, and the program was not run.
    """
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(given.encode(errors="replace"))
        stdin.seek(0)
        told = _jailed(program, limits, (stdin.fileno(), stdout.fileno(), stderr.fileno()))
        stdout.seek(0)
        stderr.seek(0)
        if not told.startswith("ready"):
            reason = stderr.read(2000).decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(
                f"programs cannot be walled in on this machine ({''.join(reason) or 'no reason given'}), and none is "
                "run without: allow unprivileged user name spaces (Linux 5.12 or later), and an environment of Python "
                "that every user may read."
            )
        code = told.removeprefix("ready").strip()
        return Finished(int(code) if code else None, stdout.read(limits.output_bytes).decode(errors="replace"))


def _jailed(program: str, limits: Limits, files: tuple[int, int, int]) -> str:
    """What the jail says: nothing if the walls do not stand, then "ready", then the program's exit code."""
    reading, writing = os.pipe()
    numbers = (limits.memory_bytes, limits.output_bytes, limits.processes, writing)
    with open(reading, "rb") as report:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(JAIL), *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=files[1],
            stderr=files[2],
            pass_fds=(writing, files[0]),
            start_new_session=True,
            env={"INPUT": str(files[0])},
        )
        os.close(writing)
        try:
            process.communicate(program.encode(errors="replace"), timeout=limits.time_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # The first process of the name space dies with it, and all others with that one.
            process.kill()
            process.wait()
        return report.read().decode()
