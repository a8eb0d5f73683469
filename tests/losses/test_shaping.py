import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import advantage, shaping

# One program each: a hundred of single operations, on shapes that no other test has, take longer.
repeated = jax.jit(shaping.repeated, static_argnames="size")
unlikely = jax.jit(shaping.unlikely, static_argnames="coef")
relative_brevity = jax.jit(shaping.relative_brevity)


def test_worked_numbers():
    got = shaping.soft_overlong(jnp.array([0, 80, 81, 90, 100, 101]), max_length=100, buffer=20)
    np.testing.assert_allclose(got, [0, 0, -0.05, -0.5, -1, -1], atol=1e-6)


def test_the_held_form_is_the_function():
    lengths = jnp.array([[3, 9], [10, 11]])
    got = shaping.SoftOverlong(max_length=10, buffer=4)(lengths)
    np.testing.assert_array_equal(got, shaping.soft_overlong(lengths, max_length=10, buffer=4))


@pytest.mark.parametrize("buffer", [0, -1, 11])
def test_meaningless_buffers_are_refused(buffer):
    with pytest.raises(ValueError, match="buffer"):
        shaping.SoftOverlong(max_length=10, buffer=buffer)


def test_worked_rewards_of_the_unlikely():
    rewards, scores = jnp.array([[1.0, 0.0, 1.0, 1.0]]), jnp.array([[-0.5, -0.9, -1.4, -0.7]])
    got = unlikely(rewards, scores, jnp.array([0]), coef=0.25)
    np.testing.assert_allclose(got, [[0.8125, 0, 1, 0.875]], rtol=1e-6)
    np.testing.assert_allclose(
        advantage.group_zscore(got, jnp.array([0]))[0], [0.309305, -1.477788, 0.721711, 0.446773], atol=3e-6
    )


def test_failed_rewards_have_no_place_in_the_order():
    rewards, scores = jnp.array([[1.0, jnp.nan, 1.0]]), jnp.array([[-0.5, -0.7, -0.9]])
    got = unlikely(rewards, scores, jnp.array([0]), coef=0.5)
    np.testing.assert_allclose(got, [[0.75, jnp.nan, 1]], rtol=1e-6)


def test_worked_relative_brevity():
    lengths, correct = jnp.array([[10, 30, 20, 30]]), jnp.array([[True, True, False, False]])
    got = relative_brevity(lengths, correct, jnp.array([0]))
    np.testing.assert_allclose(got, [[0.5, -0.5, 0, -0.5]], atol=1e-6)
    np.testing.assert_allclose(relative_brevity(lengths, ~correct, jnp.array([0]))[0, 0], 0)


def test_equally_long_completions_are_not_told_apart_and_groups_may_span_rows():
    correct = jnp.ones((2, 2), bool)
    got = relative_brevity(jnp.full((2, 2), 7), correct, jnp.array([0, 1]))
    np.testing.assert_array_equal(got, 0)
    got = relative_brevity(jnp.array([[10, 30], [20, 30]]), correct, jnp.array([4, 4]))
    np.testing.assert_allclose(got, [[0.5, -0.5], [0, -0.5]], atol=1e-6)


@pytest.mark.parametrize(
    ("size", "tokens", "again"),
    [
        (3, [1, 2, 3, 1, 2, 3, 4], [0, 0, 0, 1, 1, 1, 0]),
        (2, [5, 5, 5, 5, 5], [0, 1, 1, 1, 1]),
        (1, [1, 2, 1, 3, 2], [0, 0, 1, 0, 1]),
        (2, [1, 2, 3, 4], [0, 0, 0, 0]),
        (3, [1, 1], [0, 0]),
    ],
)
def test_tokens_of_repeated_ngrams(size, tokens, again):
    ids = jnp.asarray(tokens)[None, None]
    assert repeated(ids, jnp.ones(ids.shape, bool), size=size)[0, 0].tolist() == [bool(x) for x in again]


def test_padding_repeats_nothing():
    ids = jnp.asarray([[[7, 7, 0, 0, 0, 0], [1, 2, 9, 1, 2, 0]]])
    mask = jnp.asarray([[[1, 1, 0, 0, 0, 0], [1, 1, 0, 1, 1, 0]]], bool)  # 9 is what a tool said
    assert repeated(ids, mask, size=2).astype(int).tolist() == [[[0] * 6, [0, 0, 0, 1, 1, 0]]]
    assert not repeated(ids, mask, size=3).any()
    with pytest.raises(ValueError, match="size=0 is no n-gram"):
        repeated(ids, mask, size=0)


def test_repeated_ngrams_agree_with_a_scan():
    random = np.random.default_rng(0)
    ids = random.integers(0, 3, (4, 3, 20))
    lengths = random.integers(0, 21, (4, 3))
    for size in (1, 2, 4):
        expected = np.zeros(ids.shape, bool)
        for row, member in np.ndindex(4, 3):
            seen = set()
            for start in range(lengths[row, member] - size + 1):
                gram = tuple(ids[row, member, start : start + size])
                expected[row, member, start : start + size] |= gram in seen
                seen.add(gram)
        mask = np.arange(20) < lengths[..., None]
        np.testing.assert_array_equal(repeated(jnp.asarray(ids), jnp.asarray(mask), size=size), expected)
