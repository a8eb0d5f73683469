"""Of one process; of several: tests/integration/test_processes.py."""

import errno
import subprocess
import sys

import filelock
import pytest

from posttrain_jax.train import process


def test_one_process_agrees_with_itself():
    assert process.anyone(True)
    assert not process.anyone(False)
    process.agree("anything", "differs")
    assert process.first_text("said") == "said"


def test_a_refusal_keeps_its_sentence():
    with process.as_one():
        pass
    with pytest.raises(ValueError, match=r"^bad input$"), process.as_one():
        raise ValueError("bad input")
    with pytest.raises(KeyError), process.as_one():
        raise KeyError("not a refusal")


def test_refusals_of_other_kinds_keep_theirs():
    with pytest.raises(RuntimeError, match=r"^no worker$"), process.as_one(RuntimeError, ValueError):
        raise RuntimeError("no worker")
    with pytest.raises(ValueError, match=r"^bad$") as found, process.as_one(RuntimeError, ValueError):
        raise ValueError("bad")
    assert isinstance(found.value.__cause__, ValueError)
    with pytest.raises(RuntimeError, match=r"^RuntimeError$"), process.as_one(RuntimeError):
        raise RuntimeError
    with pytest.raises(ValueError, match="bad"), process.as_one(RuntimeError):
        raise ValueError("bad")


def test_one_run_at_a_time_trains_in_a_folder(tmp_path):
    held = process.Lock(tmp_path)
    with pytest.raises(ValueError, match=r"another process is training in .*: wait until it has ended, or give anoth"):
        process.Lock(tmp_path)
    held.release()
    assert not list(tmp_path.iterdir())
    process.Lock(tmp_path).release()


def test_a_killed_process_lets_go_of_its_folder(tmp_path):
    keep = f"""
import pathlib
from posttrain_jax.train import process
lock = process.Lock(pathlib.Path({str(tmp_path)!r}))
print("kept", flush=True)
input()
"""
    other = subprocess.Popen([sys.executable, "-c", keep], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"kept\n"
        with pytest.raises(ValueError, match="another process is training in"):
            process.Lock(tmp_path)
        other.kill()
    process.Lock(tmp_path).release()


def test_storage_without_locks_is_taken_as_it_is(tmp_path, monkeypatch):
    def refuse(self):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    process.Lock(tmp_path).release()
