import asked
import numpy as np
import pytest

from posttrain_jax.losses import difficulty
from posttrain_jax.rollout import budget, curriculum, priority, replay, selection

EASY, HARD, HALF, MOST = [1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0]
TABLE = np.array([EASY, HALF, HARD, MOST, EASY, HARD, HALF, HARD], np.float32)
DAPO = difficulty.Spread(0.0)


def test_everything_is_the_next_prompts():
    ask = asked.Ask(TABLE, rows=4)
    got, memory = selection.Everything().collect({}, ask)
    np.testing.assert_array_equal(got.places, [0, 1, 2, 3])
    assert memory == {}


def test_refill_asks_until_the_batch_is_full_of_signal():
    """Of each pass prompts 1, 3 and 6 have signal: a batch of four takes a third round, and drops what is over."""
    ask = asked.Ask(TABLE, rows=4)
    got, _ = selection.Refill(DAPO, max_rounds=3).collect({}, ask)
    np.testing.assert_array_equal(got.places, [1, 3, 6, 1])
    assert ask.round == 3
    np.testing.assert_array_equal(got.rewards, TABLE[[1, 3, 6, 1]])
    np.testing.assert_array_equal(got.rollout.groups.completions[:, :, 0], np.repeat([[1], [3], [6], [1]], 4, 1))


def test_refill_takes_bands_too():
    got, _ = selection.Refill(difficulty.Band(0.2, 0.7), max_rounds=9).collect({}, asked.Ask(TABLE, rows=4))
    np.testing.assert_array_equal(got.places, [1, 6, 1, 6])


def test_too_many_rounds_are_said():
    with pytest.raises(
        selection.ExhaustedError, match=r"2 rounds of 4 prompts gave 3 rows that Spread.*a batch takes 4"
    ):
        selection.Refill(DAPO, max_rounds=2).collect({}, asked.Ask(TABLE, rows=4))
    with pytest.raises(ValueError, match="max_rounds=0"):
        selection.Refill(DAPO, max_rounds=0)


def test_a_reward_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no reward 'b': the rewards are 'a'"):
        selection.Refill(DAPO, column="b").collect({}, asked.Ask(TABLE, rows=4))


def test_variance_aware_draws_what_varies_and_remembers():
    chosen = priority.VarianceAware(share=1.0, alpha=1.0, beta=0.0, every=1)
    first, memory = selection.Everything().collect({}, asked.Ask(TABLE, rows=8))
    places, rates = selection.success_rates(first, above=0.5)
    np.testing.assert_allclose(rates, [1, 0.5, 0, 0.75, 1, 0, 0.5, 0])
    memory = chosen.init_memory(8) | {"rates": selection.updated(chosen.init_memory(8)["rates"], places, rates)}
    kept = {name: array.copy() for name, array in memory.items()}
    ask = asked.Ask(TABLE, rows=400)
    got, after = chosen.collect(memory, ask)
    shares = np.bincount(got.places, minlength=8) / 400
    np.testing.assert_allclose(shares, np.array([0, 0.25, 0, 0.1875, 0, 0, 0.25, 0]) / 0.6875, atol=0.08)
    np.testing.assert_array_equal(shares[[0, 2, 4, 5, 7]], 0)
    np.testing.assert_allclose(after["scores"], [0, 1, 0, 0.75, 0, 0, 1, 0], atol=1e-6)
    for name, array in memory.items():  # replaced, never changed
        np.testing.assert_array_equal(array, kept[name])


def test_half_a_batch_is_the_shuffled_pass():
    ask = asked.Ask(TABLE, rows=4)
    got, memory = priority.VarianceAware(share=0.5).collect(priority.VarianceAware().init_memory(8), ask)
    np.testing.assert_array_equal(got.places[2:], [0, 1])
    assert memory["diversities"][0] == 0  # completions of two tokens hold no three


def test_knapsack_gives_rows_where_more_is_learned():
    """Rates 1, 1/2, 0, 3/4 and eight rows of four: the least to the solved and the failed, most to the half."""
    chosen = budget.Knapsack(prompts=4)
    ask = asked.Ask(TABLE[:4], rows=8)
    _, memory = chosen.collect(chosen.init_memory(4), ask)
    np.testing.assert_array_equal(np.bincount(ask.asked[0]), [2, 2, 2, 2])
    got, _ = chosen.collect(memory, ask)
    expected = budget.allocate(np.array([1, 0.5, 0, 0.75]), total=32, low=4, high=32, unit=4) // 4
    np.testing.assert_array_equal(np.bincount(ask.asked[1]), expected)
    assert expected[0] == expected[2] == 1
    assert expected.sum() == 8
    np.testing.assert_array_equal(got.rollout.groups.group_ids, ask.asked[1])
    with pytest.raises(ValueError, match="a batch of 6 rows"):
        chosen.collect(memory, asked.Ask(TABLE[:4], rows=6))


def test_easy_first_widens():
    chosen = curriculum.EasyFirst(np.array([3.0, 1, 2, 0, 7, 6, 5, 4]), steps=4, start=0.25)
    assert "8 of sum 28" in repr(chosen)
    got, _ = chosen.collect({}, asked.Ask(TABLE, rows=4, step=1))
    assert set(got.places) == {1, 3}  # the two easiest of eight
    late, _ = chosen.collect({}, asked.Ask(TABLE, rows=8, step=5))
    np.testing.assert_array_equal(late.places, np.arange(8))
    with pytest.raises(ValueError, match="8 difficulties are given for 9"):
        chosen.init_memory(9)


def test_solved_prompts_are_passed_over():
    chosen, ask = curriculum.Unsolved(rate=0.75), asked.Ask(TABLE, rows=8)
    _, memory = chosen.collect(chosen.init_memory(8), ask)
    got, memory = chosen.collect(memory, ask)
    assert set(got.places) == {1, 2, 5, 6, 7}
    with pytest.raises(selection.ExhaustedError, match="all 8 prompts are solved"):
        chosen.collect({"rates": np.ones(8, np.float32)}, ask)


def test_replay_fills_flat_groups_with_earlier_ones():
    chosen = replay.Replay(DAPO, capacity=8, max_age=2)
    memory = chosen.init_memory(8)
    got, memory = chosen.collect(memory, asked.Ask(TABLE, rows=4, step=1))
    np.testing.assert_array_equal(got.places, [0, 1, 2, 3])  # nothing is remembered yet
    got, memory = chosen.collect(memory, asked.Ask(TABLE, rows=4, step=2, position=4))
    assert set(got.places[[0, 1]]) == {1, 3}
    assert list(got.places[2:]) == [6, 7]
    np.testing.assert_array_equal(got.steps, [1, 1, 2, 2])
    # the sampler's log-probabilities of their own time
    np.testing.assert_array_equal(got.rollout.sampler.logps[:, 0, 0], [-1, -1, -2, -2])
    np.testing.assert_array_equal(got.rewards, TABLE[got.places])


def test_replay_forgets_what_is_too_old():
    chosen = replay.Replay(DAPO, capacity=8, max_age=2, most=1.0)
    _, memory = chosen.collect(chosen.init_memory(8), asked.Ask(TABLE, rows=4, step=1))
    flat = np.zeros_like(TABLE)
    young, _ = chosen.collect(memory, asked.Ask(flat, rows=4, step=3, position=4))
    assert set(young.places[young.steps == 1]) == {1, 3}
    old, after = chosen.collect(memory, asked.Ask(flat, rows=4, step=4, position=4))
    assert np.all(old.steps == 4)
    assert after["rows"] == {}


def test_replay_keeps_the_newest_rows():
    chosen = replay.Replay(DAPO, capacity=1, max_age=9)
    _, memory = chosen.collect(chosen.init_memory(8), asked.Ask(TABLE, rows=4, step=1))
    np.testing.assert_array_equal(memory["rows"]["places"], [3])


def test_joined_prompts_are_padded_to_the_longest():
    one, two = (asked.found(TABLE, [place], 1) for place in (1, 3))
    wide = selection._widened(two, 3)
    got = selection.join([one, wide])
    np.testing.assert_array_equal(got.rollout.groups.prompts, [[1, 0, 0], [3, 0, 0]])
