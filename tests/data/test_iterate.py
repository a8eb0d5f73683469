import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posttrain_jax.data import iterate


def collate(rows, own):
    return list(rows[own])


def batches(count=10, size=4, seed=0, index=0, processes=1):
    return iterate.Batches(
        list(range(count)), collate, batch_size=size, seed=seed, process_index=index, process_count=processes
    )


def take(iterator, count):
    return list(itertools.islice(iterator, count))


def test_every_row_once_an_epoch_in_another_order_each():
    flat = list(itertools.chain(*take(batches(10, 4), 10)))
    epochs = [flat[start : start + 10] for start in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert list(range(10)) not in epochs


def test_the_seed_decides():
    assert take(batches(seed=1), 5) == take(batches(seed=1), 5)
    assert take(batches(seed=1), 5) != take(batches(seed=2), 5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 15))
def test_restored_it_continues_identically(count, size, steps):
    first = batches(count, size)
    take(first, steps)
    state = json.loads(json.dumps(first.state()))
    second = batches(count, size)
    take(second, 3)
    second.restore(state)
    assert take(first, 8) == take(second, 8)
    assert first.state() == second.state()


def test_processes_share_the_same_global_batches():
    whole = take(batches(size=4), 6)
    for processes in (2, 4):
        parts = [take(batches(size=4, index=index, processes=processes), 6) for index in range(processes)]
        assert [list(itertools.chain(*step)) for step in zip(*parts, strict=True)] == whole
    one, other = batches(index=0, processes=2), batches(index=1, processes=2)
    take(one, 3), take(other, 3)
    assert one.state() == other.state()
    alone = batches()
    alone.restore(one.state())
    assert take(alone, 3) == whole[3:]


@pytest.mark.parametrize(
    ("count", "size", "seed", "told"), [(9, 4, 0, "rows 10"), (10, 5, 0, "batch"), (10, 4, 1, "seed")]
)
def test_another_order_is_refused(count, size, seed, told):
    with pytest.raises(ValueError, match=f"saved data order has {told}"):
        batches(count, size, seed).restore(batches().state())


def test_other_rows_of_the_same_number_are_refused():
    other = iterate.Batches([9, *range(1, 10)], collate, batch_size=4, seed=0)
    with pytest.raises(ValueError, match="saved data order has content"):
        other.restore(batches().state())


def test_one_pass_ends_with_what_is_left():
    assert list(iterate.one_pass(list(range(5)), collate, batch_size=2)) == [[0, 1], [2, 3], [4]]
    parts = [
        list(iterate.one_pass(list(range(5)), collate, batch_size=4, process_index=index, process_count=2))
        for index in range(2)
    ]
    assert parts == [[[0, 1], [4]], [[2, 3], []]]


def test_refusals():
    with pytest.raises(ValueError, match="no rows"):
        batches(count=0)
    with pytest.raises(ValueError, match="a batch of 4 rows cannot be shared by process 0 of 3"):
        batches(size=4, processes=3)
    assert iterate.share(8, 1, 2) == slice(4, 8)
    np.testing.assert_array_equal(np.arange(8)[iterate.share(8, 1, 2)], [4, 5, 6, 7])
