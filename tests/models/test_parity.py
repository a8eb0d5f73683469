"""Logits and greedy continuations against those of transformers, frozen in tests/fixtures."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from posttrain_jax.models import config, huggingface, language_model, sharding

FIXTURES = Path(__file__).parents[1] / "fixtures"
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
TOLERANCE = 2e-4
# (sequence, prompt length): lengths are 23, 17, 9 and 1, so the last of each sequence is all prompt.
SPLITS = [(0, 1), (0, 2), (0, 13), (0, 22), (0, 23), (1, 1), (1, 8), (1, 17), (2, 4), (2, 9), (3, 1), (3, 1)]
NEW = 20


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    folder = FIXTURES / request.param
    mesh = sharding.make_mesh()
    model = language_model.LanguageModel(huggingface.load_config(folder), config.Compute(), mesh)
    return model, huggingface.load_params(folder, model), np.load(folder / "reference.npz")


def padded(rows, filler):
    """Rows side by side, the room behind them filled with a token that must not matter."""
    width = max(len(row) for row in rows)
    return jnp.asarray([[*row, *[filler] * (width - len(row))] for row in rows], jnp.int32)


def lengths(rows):
    return jnp.asarray([len(row) for row in rows], jnp.int32)


def test_logits_wherever_prompt_and_completion_meet(case):
    model, params, reference = case
    prompts = [reference[f"tokens_{i}"][:cut] for i, cut in SPLITS]
    completions = [reference[f"tokens_{i}"][cut:] for i, cut in SPLITS]

    @jax.jit
    def logits(params, prompts, lengths, completions):
        cache, last = model.encode(params, prompts, lengths)
        hidden, _ = model.extend(params, cache, completions[:, None])
        return jnp.concatenate([last[:, None], hidden[:, 0]], axis=1) @ model.head_weight(params)

    for filler in (0, 77):
        ours = logits(params, padded(prompts, filler), lengths(prompts), padded(completions, filler))
        for row, (i, cut) in enumerate(SPLITS):
            theirs = reference[f"logits_{i}"][cut - 1 :]
            np.testing.assert_allclose(ours[row, : len(theirs)], theirs, rtol=0, atol=TOLERANCE, err_msg=f"{i} {cut}")


def test_greedy_continuations(case):
    model, params, reference = case
    prompts = [reference[f"prompt_{i}"] for i in range(4)]

    @jax.jit
    def greedy(params, prompts, lengths):
        cache, last = model.encode(params, prompts, lengths)

        def step(carry, t):
            hidden, own = carry
            logits = hidden @ model.head_weight(params)
            tokens = jnp.argmax(logits, axis=-1).astype(jnp.int32)
            hidden, own = model.extend(params, cache, tokens[:, None, None], own, t)
            return (hidden[:, 0, 0], own), (tokens, logits)

        start = (last, model.own_cache(len(prompts), 1, NEW))
        _, (tokens, logits) = lax.scan(step, start, jnp.arange(NEW, dtype=jnp.int32))
        return tokens.T, logits.swapaxes(0, 1)

    tokens, logits = greedy(params, padded(prompts, 0), lengths(prompts))
    for i in range(4):
        np.testing.assert_array_equal(tokens[i], reference[f"greedy_{i}"])
        np.testing.assert_allclose(logits[i], reference[f"greedy_logits_{i}"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_what_makes_a_family_matters(family):
    """Without its own rotary scaling or window, a checkpoint gives other logits: the fixtures would notice."""
    folder = FIXTURES / family
    plain = dataclasses.replace(huggingface.load_config(folder), rope_scaling=None, sliding_window=None)
    model = language_model.LanguageModel(plain, config.Compute(), sharding.make_mesh())
    params, reference = huggingface.load_params(folder, model), np.load(folder / "reference.npz")
    tokens = jnp.asarray(reference["tokens_0"])[None]
    _, last = jax.jit(model.encode)(params, tokens, jnp.asarray([23], jnp.int32))
    assert np.abs(last[0] @ model.head_weight(params) - reference["logits_0"][-1]).max() > 100 * TOLERANCE
