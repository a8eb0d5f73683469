import pytest

from posttrain_jax.train import host


@pytest.mark.parametrize("given", [{"count": 2}, {"coordinator": "a:1", "count": 2}, {"index": 0}])
def test_half_told_processes_are_refused(given):
    with pytest.raises(ValueError, match="is incomplete: give coordinator, count and index, or none of them"):
        host.Hosts(**given).join()


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
