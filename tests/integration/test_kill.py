"""Runs that are killed, and started again with the same command."""

import kill_runs


def test_killed_runs_end_as_if_they_had_never_stopped(tmp_path):
    assert kill_runs.kill_often(tmp_path, 4, steps=3, model="bigram", seed=0) == []
