import ast
import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from posttrain_jax.data import encode
from posttrain_jax.train import command, host

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"


@dataclasses.dataclass(frozen=True)
class Config:
    """A config."""

    rows: int = 1


def test_the_command_line_holds_the_config_and_the_hosts(monkeypatch):
    seen = []
    monkeypatch.setattr(sys, "argv", ["script.py", "--rows", "3", "--hosts.count", "2"])
    monkeypatch.setattr(host.Hosts, "join", lambda self: seen.append(self))
    command.run(seen.append, Config)
    assert seen == [host.Hosts(count=2), Config(rows=3)]
    monkeypatch.setattr(sys, "argv", ["script.py", "--rows", "4"])
    command.alone(seen.append, Config)
    assert seen[-1] == Config(rows=4)


def test_what_the_library_refuses_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as end, command.refusing():
        encode.Limits(8, 0)
    assert end.value.code == 1
    assert capsys.readouterr().err == "Stopped: limits of 8 prompt and 0 completion tokens leave no room.\n"


def test_a_second_ctrl_c_is_a_sentence(capsys):
    with pytest.raises(SystemExit) as end, command.refusing():
        raise KeyboardInterrupt
    assert end.value.code == 130
    assert capsys.readouterr().err == "Stopped: interrupted; what was not saved is lost.\n"


def met():
    return encode.Limits(8, 8), np.stack([])


def raised_elsewhere():
    raise ValueError("of somebody who is neither library nor script")


def bug():
    return {}["missing"]


@pytest.mark.parametrize(("do", "kind"), [(met, ValueError), (raised_elsewhere, ValueError), (bug, KeyError)])
def test_what_nobody_foresaw_keeps_its_traceback(do, kind):
    with pytest.raises(kind), command.refusing():
        do()


def test_what_the_script_s_folder_refuses_is_a_sentence_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [__file__])
    with pytest.raises(SystemExit), command.refusing():
        raised_elsewhere()
    assert capsys.readouterr().err == "Stopped: of somebody who is neither library nor script\n"


def test_a_newcomer_reads_one_sentence():
    line = [sys.executable, EXPERIMENTS / "sft.py", "--model", "runs/tiny", "--data", "nowhere.jsonl", "--steps", "0"]
    more = ["--folder", "x", "--max-prompt", "8", "--max-completion", "8", "--learning-rate", "1"]
    ended = subprocess.run([*line, *more], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "Stopped: steps=0 must be at least 1.\n")


def test_every_script_of_a_config_does_so():
    for path in EXPERIMENTS.rglob("*.py"):
        text = path.read_text()
        if "tyro" in text and '__name__ == "__main__"' in text and "benchmarks" not in path.parts:
            last = ast.unparse(ast.parse(text).body[-1].body[0])
            assert last in ("command.run(main, Config)", "command.alone(main, Config)"), path
