import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from posttrain_jax.rewards import sandbox

LIMITS = sandbox.Limits(time_s=20.0, memory_bytes=256 << 20)


@pytest.fixture(scope="module", autouse=True)
def walls():
    try:
        sandbox.run("", "", LIMITS)
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("program", "code", "output"),
    [
        ("print(input()[::-1])", 0, "cba\n"),
        ("import json, math; print(json.dumps(math.pi))", 0, "3.141592653589793\n"),
        ("", 0, ""),
        ("print(1", 1, ""),
        ("raise ValueError", 1, ""),
        ("import sys; print(1); sys.exit(97)", 97, "1\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15, ""),
        ("print(__name__)", 0, "__main__\n"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", 0, "\ufffd"),
        ("print('\ud800')", 0, "?\n"),
    ],
)
def test_how_programs_end(program, code, output):
    assert sandbox.run(program, "abc\n", LIMITS) == sandbox.Finished(code, output)


def test_there_is_no_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"""
import socket
for address in [("127.0.0.1", {port}), ("192.0.2.1", 80)]:
    try:
        socket.create_connection(address, 2)
        print("connected")
    except OSError as error:
        print(error.errno)
"""
        assert sandbox.run(program, "", LIMITS).output.split() == ["101", "101"]  # ENETUNREACH


def test_nothing_is_lent(monkeypatch):
    monkeypatch.setenv("SECRET", "42")
    program = """
import os
print("SECRET" in os.environ, os.listdir("/proc"), os.getuid() != 0)
try:
    os.setuid(0)
except OSError as error:
    print("no root")
try:
    os.kill(1, 9)
finally:
    print("alive")
"""
    done = sandbox.run(program, "", LIMITS)
    assert done.output == "False [] True\nno root\nalive\n"


def test_only_a_small_folder_can_be_written():
    program = """
import os
open("/tmp/a", "w").write("a")
print(sorted(os.listdir("/tmp")))
try:
    open("/var/tmp/a", "w")
except OSError as error:
    print(error.errno)
"""
    assert sandbox.run(program, "", LIMITS).output == "['a', 'program.py']\n30\n"  # EROFS
    first, second = (sandbox.run("open('/tmp/b', 'x'); print(1)", "", LIMITS) for _ in range(2))
    assert first == second == sandbox.Finished(0, "1\n")


@pytest.mark.parametrize(
    "program",
    [
        "bytearray(1 << 30)",
        "import sys; sys.stdout.write('a' * (1 << 21)); sys.stdout.flush()",
        "open('/tmp/a', 'w').write('a' * (1 << 21))",
        "import os\nfor _ in range(40): os.fork()",
        "files = [open('/dev/null') for _ in range(100)]",
    ],
)
def test_memory_output_processes_and_files_are_limited(program):
    done = sandbox.run(program, "", LIMITS)
    assert done.exit_code == 1
    assert len(done.output) <= 1 << 20


def sleeping(seconds):
    """Processes that sleep for just so long."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [path] if path.read_bytes().split(b"\0")[:2] == [b"sleep", str(seconds).encode()] else []
    return found


def gone(seconds):
    deadline = time.monotonic() + 5
    while sleeping(seconds) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not sleeping(seconds)


ESCAPE = """
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "{seconds}"], start_new_session=True)
print("started", flush=True)
{then}
"""


@pytest.mark.parametrize(
    ("then", "code", "limit"), [("", 0, 20.0), ("time.sleep(600)", None, 1.0), ("while True: pass", None, 1.0)]
)
def test_whatever_was_started_ends_with_the_run(then, code, limit):
    seconds = 600_000 + os.getpid() % 100_000
    start = time.monotonic()
    done = sandbox.run(ESCAPE.format(seconds=seconds, then=then), "", sandbox.Limits(limit, 256 << 20))
    assert done == sandbox.Finished(code, "started\n")
    assert time.monotonic() - start < limit + 5
    assert gone(seconds)


def test_a_run_ends_with_the_process_that_asked_for_it():
    seconds = 700_000 + os.getpid() % 100_000
    program = ESCAPE.format(seconds=seconds, then="time.sleep(600)")
    code = f"from posttrain_jax.rewards import sandbox; sandbox.run({program!r}, '', sandbox.Limits(600.0, 256 << 20))"
    asking = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 20
    while not sleeping(seconds) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sleeping(seconds)
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    assert gone(seconds)


def test_without_walls_nothing_is_run(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    jail = tmp_path / "jail.py"
    jail.write_text("raise OSError('no name spaces: Operation not permitted')")
    monkeypatch.setattr(sandbox, "JAIL", jail)
    with pytest.raises(RuntimeError, match=r"cannot be walled in .*Operation not permitted.*none is run without"):
        sandbox.run(f"open({str(ran)!r}, 'w')", "", LIMITS)
    assert not ran.exists()


@pytest.mark.parametrize("limits", [{"time_s": 0.0}, {"memory_bytes": 0}, {"output_bytes": 0}, {"processes": 0}])
def test_limits_are_above_nothing(limits):
    with pytest.raises(ValueError, match="above 0"):
        sandbox.Limits(**{"time_s": 1.0, "memory_bytes": 1} | limits)
