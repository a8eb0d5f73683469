import time

import jax
import pytest

from posttrain_jax.train import host


@pytest.mark.parametrize("given", [{"count": 2}, {"coordinator": "a:1", "count": 2}, {"index": 0}])
def test_half_told_processes_are_refused(given):
    with pytest.raises(ValueError, match="is incomplete: give coordinator, count and index, or none of them"):
        host.Hosts(**given).join()


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        (
            host.Hosts("a:1", 2, 1),
            "Process 1 of 2 still waits for the others at a:1 after 0.02 s: the same command must",
        ),
        (host.Hosts(), "This process still waits for the others after 0.02 s: the same command must"),
    ],
)
def test_who_waits_for_processes_that_never_start_is_told_so(monkeypatch, capsys, hosts, told):
    monkeypatch.setattr(host, "TOLD_AFTER_S", 0.02)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: time.sleep(0.3))
    hosts.join()
    assert told in capsys.readouterr().err
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: None)
    hosts.join()
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_alone_nothing_is_waited_for(monkeypatch):
    def initialize(*args, **_):
        assert args == (None, None, None)
        raise ValueError(said)

    monkeypatch.setattr("jax.distributed.initialize", initialize)
    said = "coordinator_address should be defined."
    host.Hosts().join()
    said = "Number of processes must be defined."  # somebody knows of others, but not of how many
    with pytest.raises(ValueError, match="Number of processes"):
        host.Hosts().join()
