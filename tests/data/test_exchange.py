"""Threads stand for processes here; real ones: tests/integration/test_processes.py."""

import concurrent.futures
import dataclasses
import threading

import fake_tokenizer as fake
import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from posttrain_jax.data import demonstrations, encode, exchange, fields

ROWS = [{"prompt": "p" * (1 + i % 9), "completion": "c" * (1 + i % 4)} for i in range(11)]


@pytest.fixture
def together(monkeypatch):
    """`together(count, do)`: what `do(index)` gives in each of `count` processes, or the error it raises."""

    def run(count, do):
        here, barrier, slots = threading.local(), threading.Barrier(count, timeout=20), [None] * count

        def process_allgather(x):
            slots[here.index] = np.asarray(x)
            barrier.wait()
            gathered = np.stack(slots)
            barrier.wait()
            return gathered

        def one(index):
            here.index = index
            try:
                return do(index)
            except ValueError as error:
                return str(error)

        monkeypatch.setattr(jax, "process_count", lambda: count)
        monkeypatch.setattr(jax, "process_index", lambda: here.index)
        monkeypatch.setattr(multihost_utils, "process_allgather", process_allgather)
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            return list(pool.map(one, range(count)))

    return run


def encoded(rows=ROWS, read=None, **more):
    read = read or fields.DemonstrationFields()
    return demonstrations.encode(rows, read, fake.Characters(), encode.Limits(6, 4), **more)


def plain(row):
    return row.index, row.prompt.tolist(), [ids.tolist() for ids in row.completions]


def test_each_has_what_all_have(together, monkeypatch):
    assert exchange.everyones("alone") == ["alone"]
    monkeypatch.setattr(exchange, "CHUNK", 16)  # so that parts take a different number of rounds
    parts = [{"index": index, "more": b"\0" * 40 * index} for index in range(3)]
    assert together(3, lambda index: exchange.everyones(parts[index])) == [parts] * 3


@pytest.mark.parametrize("count", [2, 3, 12])
def test_rows_are_those_of_one_process_and_each_encodes_its_part(together, count):
    rows, report = encoded()
    read = [[] for _ in range(count)]

    def counting(row):
        read[jax.process_index()].append(row)
        return fields.DemonstrationFields()(row)

    for theirs, told in together(count, lambda _: encoded(read=counting)):
        assert [plain(row) for row in theirs] == [plain(row) for row in rows]
        assert told == report
    assert sorted(map(len, read)) == sorted(len(ROWS[index::count]) for index in range(count))
    assert (report.rows, report.cut_prompts, report.cut_completions) == (11, 4, 2)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.3])
def test_bad_rows_are_counted_and_refused_as_by_one_process(together, share):
    rows = [row | ({"completion": ""} if index in (3, 5, 8) else {}) for index, row in enumerate(ROWS)]
    answers = together(3, lambda _: encoded(rows, max_bad_fraction=share))
    (alone,) = together(1, lambda _: encoded(rows, max_bad_fraction=share))
    if share < 0.3:
        assert set(answers) == {alone}
        first = {0.0: 4, 0.1: 6, 0.2: 9}[share]
        assert "row 3: the completion is empty. (Bad rows:" in alone
        assert f"of the first {first}; allowed: {share:g}.)" in alone
    else:
        assert {dataclasses.astuple(report) for _, report in answers} == {dataclasses.astuple(alone[1])}
        assert alone[1].bad == 3


@pytest.mark.parametrize("other", [ROWS[:-1], [*ROWS[:-1], {"prompt": "q", "completion": "c"}]])
def test_other_data_is_refused_everywhere(together, other):
    told = f"process 1 of 3 reads other data ({len(other)} rows) than the first (11 rows): give every host the same"
    answers = together(3, lambda index: encoded(other if index == 1 else ROWS))
    assert answers == [f"{told} files."] * 3
