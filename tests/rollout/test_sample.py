"""Single draws: frequencies, truncation, ties, and what they say of themselves."""

import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sparing

from posttrain_jax.models import sharding
from posttrain_jax.rollout import sample

ONE = sample.Sampling(max_new_tokens=1, stop_ids=())
CRITICAL = {1: 15.1, 2: 18.4, 3: 21.1, 4: 23.5, 5: 25.7, 6: 27.9, 7: 29.9}
"""Chi-square exceeds this with probability 1e-4, by degrees of freedom."""

LOGITS = jnp.asarray([1.2, -0.5, 0.3, 2.0, -1.0, 0.9, -2.0, 0.0])


def chi_square(tokens, probs):
    """Sum of (seen - expected)^2 / expected over the ids that can be drawn; no other may be seen."""
    seen = np.bincount(np.asarray(tokens).ravel(), minlength=len(probs))
    expected = tokens.size * np.asarray(probs, np.float64)
    assert seen[expected == 0].sum() == 0
    seen, expected = seen[expected > 0], expected[expected > 0]
    return ((seen - expected) ** 2 / expected).sum(), len(seen) - 1


def draw(hidden, weight, keys, t=0, *, sampling=ONE, mesh=None):
    mesh = sharding.make_mesh() if mesh is None else mesh
    run = functools.partial(sample.draw, sampling=sampling, mesh=mesh, rules=sharding.SAMPLING_RULES)
    return jax.jit(run)(hidden, weight, keys, jnp.asarray(t, jnp.int32))


def of_logits(logits, *, P=4, G=5000, **options):
    """Draws that all see `logits`."""
    keys = jax.random.split(jax.random.key(0), (P, G))
    return draw(jnp.ones((P, G, 1)), logits[None], keys, **options)


def truncated(logits, *, temperature=1.0, top_k=None, top_p=1.0, min_p=0.0):
    """The distribution that truncated sampling promises, plainly: sort, cut, renormalise."""
    logits = np.asarray(logits, np.float64) / temperature
    probs = np.exp(logits) / np.exp(logits).sum()
    order = np.argsort(-probs)[:top_k]
    among = probs[order] / probs[order].sum()
    kept = (np.cumsum(among) - among < top_p) & (among >= min_p * among[0])
    result = np.zeros_like(probs)
    result[order[kept]] = probs[order[kept]]
    return result / result.sum()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.6},
        {"top_k": 5},
        {"top_k": 8, "top_p": 0.8},
        {"top_k": 6, "min_p": 0.3},
        {"top_k": 6, "top_p": 0.9, "min_p": 0.05, "temperature": 1.7},
        {"top_k": 99},
    ],
    ids=str,
)
def test_frequencies_entropies_and_logps_match_the_distribution(options):
    drawn = of_logits(LOGITS, sampling=dataclasses.replace(ONE, **options))
    probs = truncated(LOGITS, **options)
    statistic, freedom = chi_square(drawn.tokens, probs)
    assert statistic < CRITICAL[freedom]
    np.testing.assert_allclose(drawn.logps, np.log(probs[drawn.tokens]), atol=1e-5)
    np.testing.assert_allclose(drawn.entropy, -np.sum(probs[probs > 0] * np.log(probs[probs > 0])), atol=1e-5)
    if "top_k" in options:
        assert drawn.kept_ids.shape[-1] == min(options["top_k"], 8)
        assert set(np.unique(drawn.kept_ids)) - {-1} == set(np.flatnonzero(probs))
    else:
        assert drawn.kept_ids is None


CUTS = {
    "all": (24, {}),
    "of a large vocabulary": (1024, {}),
    "3 likeliest": (24, {"top_k": 3}),
    "nucleus of 6": (24, {"top_k": 6, "top_p": 0.7}),
}


@pytest.mark.parametrize("way", sparing.some(CUTS, "of a large vocabulary", "nucleus of 6"))
def test_the_same_tokens_however_vocabulary_and_rows_are_cut(way):
    vocab, options = way
    sampling = dataclasses.replace(ONE, **options)
    hidden, weight = (jax.random.normal(jax.random.key(k), s) for k, s in ((1, (8, 16, 6)), (2, (6, vocab))))
    keys = jax.random.split(jax.random.key(0), (8, 16))
    one = draw(hidden, weight, keys, sampling=sampling)
    for shape in ({"fsdp": 2}, {"data": 2, "tensor": 2}, {"tensor": 8}, {"data": 2, "fsdp": 2, "tensor": 2}):
        many = draw(hidden, weight, keys, sampling=sampling, mesh=sharding.make_mesh(**shape))
        np.testing.assert_array_equal(one.tokens, many.tokens)
        np.testing.assert_allclose(one.logps, many.logps, atol=1e-5)
        np.testing.assert_allclose(one.entropy, many.entropy, atol=1e-5)
        if one.kept_ids is not None:
            np.testing.assert_array_equal(one.kept_ids, many.kept_ids)


def test_a_device_makes_noise_for_its_blocks_of_the_vocabulary_and_for_one_block():
    run = functools.partial(
        sample.draw, sampling=ONE, mesh=sharding.make_mesh(data=2, tensor=4), rules=sharding.SAMPLING_RULES
    )
    keys = jax.random.split(jax.random.key(0), (2, 3))
    arguments = jnp.ones((2, 3, 5)), jnp.ones((5, 7040)), keys, jnp.int32(0)
    text = jax.jit(run).lower(*arguments).compile().as_text()
    words = [math.prod(map(int, dims.split(","))) for dims in re.findall(r"u32\[([\d,]+)\]", text)]
    rows, blocks = 2 * 3 // 2, 7040 // 16
    assert max(words) == rows * blocks // 4


@pytest.mark.parametrize(
    ("vocab", "size"), [(64, 1), (1000, 1), (1025, 1), (8192, 128), (151936, 16), (152064, 64), (1001 * 4, 1)]
)
def test_blocks_of_the_vocabulary_fit_on_every_shard(vocab, size):
    fitting = [shards for shards in (1, 2, 4, 8, 16) if vocab % shards == 0]
    sizes = [sample.block_size(vocab, shards) for shards in fitting]
    assert sizes[0] == size
    assert len(set(sizes[:4])) == 1
    assert all(vocab // shards % size == 0 for shards, size in zip(fitting, sizes, strict=True))


def test_blocks_of_the_vocabulary_are_drawn_by_their_mass():
    logits = jnp.full((1024,), -jnp.inf).at[::16].set(jax.random.normal(jax.random.key(3), (64,)) * 2)
    logits = logits.at[129].set(3.0).at[255].set(2.0).at[256 : 256 + 128].set(-jnp.inf)
    drawn = of_logits(logits, G=2000)
    assert sample.block_size(1024, 1) == 128
    statistic, freedom = chi_square(drawn.tokens, jax.nn.softmax(logits))
    spread = 2 / (9 * freedom)  # of the cube root, which is nearly normal (Wilson and Hilferty 1931)
    assert statistic < freedom * (1 - spread + 3.72 * math.sqrt(spread)) ** 3  # exceeded with probability 1e-4


@pytest.mark.parametrize("shape", [{}, {"data": 2, "tensor": 2}, {"tensor": 8}], ids=str)
def test_the_likeliest_is_taken_where_one_asks_for_it(shape):
    # The likeliest id lies in a block of little mass.
    logits = jnp.full((1024,), -8.0).at[:128].set(1.0).at[700].set(2.0)
    keys, greedy = jax.random.split(jax.random.key(0), (2, 3)), jnp.asarray([True, False, True])
    run = functools.partial(
        sample.draw, sampling=ONE, mesh=sharding.make_mesh(**shape), rules=sharding.SAMPLING_RULES, greedy=greedy
    )
    drawn = jax.jit(run)(jnp.ones((2, 3, 1)), logits[None], keys, jnp.int32(0))
    assert (np.asarray(drawn.tokens)[:, ::2] == 700).all()
    assert (np.asarray(drawn.tokens)[:, 1] < 128).all()


def test_a_key_and_a_position_decide_the_noise():
    keys = jax.random.split(jax.random.key(0), (1, 64))
    hidden, weight = jnp.ones((1, 64, 1)), jnp.zeros((1, 50))
    one = draw(hidden, weight, keys).tokens
    np.testing.assert_array_equal(one, draw(hidden, weight, keys).tokens)
    np.testing.assert_array_equal(one[:, ::-1], draw(hidden, weight, keys[:, ::-1]).tokens)
    assert (one != draw(hidden, weight, keys, 1).tokens).mean() > 0.8
    assert (one[:, 1:] != one[:, :-1]).mean() > 0.8


def test_each_completion_may_be_at_a_position_of_its_own():
    keys, places = jax.random.split(jax.random.key(1), (2, 3)), np.asarray([[0, 4, 2], [2, 0, 4]])
    hidden = jnp.ones((2, 3, 1))
    ours = draw(hidden, LOGITS[None], keys, places)
    for place in (0, 2, 4):
        at = places == place
        together = draw(hidden, LOGITS[None], keys, place)
        np.testing.assert_array_equal(np.asarray(ours.tokens)[at], np.asarray(together.tokens)[at])
        np.testing.assert_array_equal(np.asarray(ours.logps)[at], np.asarray(together.logps)[at])


@pytest.mark.parametrize("options", [{}, {"top_k": 3}], ids=str)
@pytest.mark.parametrize("shape", [{}, {"tensor": 2}], ids=str)
def test_temperature_zero_takes_the_likeliest_and_the_lower_of_equals(options, shape):
    logits = jnp.asarray([0.0, 2.0, -1.0, 1.0, 2.0, 0.0])
    sampling = dataclasses.replace(ONE, temperature=0.0, **options)
    drawn = of_logits(logits, P=1, G=4, sampling=sampling, mesh=sharding.make_mesh(**shape))
    assert (drawn.tokens == 1).all()
    probs = truncated(logits, **options)
    np.testing.assert_allclose(drawn.logps, np.log(probs[1]), atol=1e-6)


def test_which_candidates_stay():
    logits = jnp.log(jnp.asarray([[0.5, 0.3, 0.15, 0.05]]))
    assert sample.keep(logits, top_p=0.75, min_p=None).tolist() == [[True, True, False, False]]
    assert sample.keep(logits, top_p=0.85, min_p=None).tolist() == [[True, True, True, False]]
    assert sample.keep(logits, top_p=None, min_p=0.2).tolist() == [[True, True, True, False]]
    assert sample.keep(logits, top_p=0.75, min_p=0.7).tolist() == [[True, False, False, False]]
    assert sample.keep(logits, top_p=1e-9, min_p=1.0).tolist() == [[True, False, False, False]]
    assert sample.keep(logits, top_p=None, min_p=None).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0: a completion needs room"),
        ({"temperature": -0.5}, r"temperature is -0.5: choose 0 \(greedy\) or a positive number"),
        ({"temperature": float("nan")}, r"temperature is nan: choose 0"),
        ({"temperature": float("inf")}, r"temperature is inf: choose 0"),
        ({"top_k": 0}, "top_k is 0: keep at least one id"),
        ({"top_k": 5, "top_p": 0.0}, "top_p is 0.0: it is a share"),
        ({"top_k": 5, "min_p": 1.5}, "min_p is 1.5: it is a share"),
        ({"top_p": 0.9}, "top_p needs top_k as well"),
        ({"min_p": 0.1}, "min_p needs top_k as well"),
    ],
)
def test_impossible_sampling_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(ONE, **change)
