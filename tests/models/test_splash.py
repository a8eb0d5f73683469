"""The kernel, run step by step on a CPU, against the einsum; its mask by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.models import attention, platform, sharding, splash
from tests.models import tiny
from tests.models.test_attention import arrays

interpreted = functools.partial(splash.attend, interpret=True)


@pytest.mark.parametrize(
    ("shape", "lengths", "window"),
    [
        pytest.param({"T": 6, "K": 1, "G": 2}, (2, 5), None, id="ragged prompts", marks=pytest.mark.slow),
        pytest.param({"T": 130, "S": 140, "K": 1, "R": 1}, (139, 3), None, id="several blocks, prompt and own"),
        pytest.param({"T": 6, "S": 0, "G": 1}, (0, 0), None, id="prompts themselves", marks=pytest.mark.slow),
        pytest.param({"T": 6, "K": 1, "G": 2}, (2, 5), 3, id="window across the prompt's end"),
    ],
)
def test_values_and_gradients_equal_the_einsum(shape, lengths, window):
    operands, lengths = arrays(**shape), jnp.asarray(lengths, jnp.int32)
    weights = jax.random.normal(jax.random.key(0), operands[0].shape)

    def run(function):
        def loss(*operands):
            mixed = function(*operands, lengths, jnp.int32(0), window)
            return jnp.sum(weights * mixed), mixed

        return jax.jit(jax.value_and_grad(loss, range(5), has_aux=True))(*operands)

    (_, mixed), gradients = run(interpreted)
    (_, expected), expected_gradients = run(attention.einsum)
    np.testing.assert_allclose(mixed, expected, atol=2e-6)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_decode_step_is_the_einsum():
    operands = arrays(T=1, C=7)
    rest = (jnp.asarray([1, 4], jnp.int32), jnp.int32(3), None)
    np.testing.assert_array_equal(splash.attend(*operands, *rest), attention.einsum(*operands, *rest))


def test_a_model_on_a_mesh_scores_alike_with_either():
    """On rows and heads that are cut over devices."""
    groups = tiny.groups(P=2, S=5, G=2, T=4, lengths=[5, 2], completion_lengths=[[4, 1], [0, 3]])
    model = tiny.model(sharding.make_mesh(fsdp=2, tensor=2), num_layers=1)
    params = tiny.params(model)
    score = jax.jit(lambda params, attend: _with(model, attend).token_stats(params, groups), static_argnums=1)
    for ours, theirs in zip(
        jax.tree.leaves(score(params, interpreted)), jax.tree.leaves(score(params, attention.einsum)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def _with(model, attend):
    return type(model)(model.config, model.compute, model.mesh, attend=attend)


def test_the_mask_by_hand():
    """A prompt of 2 and two completions of 2: queries see the prompt and their own past, never the other completion."""
    mask = splash.TreeMask(prompt=2, group=2, length=2, window=None)
    everything = (slice(None), slice(None))
    assert mask.shape == (4, 6)
    assert mask[everything].astype(int).tolist() == [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1, 1],
    ]
    near = splash.TreeMask(prompt=2, group=2, length=2, window=2)
    assert near[everything].astype(int).tolist() == [
        [0, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]


@pytest.mark.parametrize(
    ("sizes", "prompt", "length", "block"),
    [((512, 8, 1024), 512, 1024, 512), ((300, 3, 1000), 512, 1024, 512), ((0, 1, 200), 0, 256, 256)],
)
def test_sequences_are_padded_to_whole_blocks(sizes, prompt, length, block):
    mask, cut = splash.layout(*sizes, None)
    assert (mask.prompt, mask.length, cut) == (prompt, length, block)
    assert all(size % block == 0 for size in mask.shape)


def test_cpus_take_the_einsum():
    assert platform.attention_of(sharding.make_mesh()) is attention.einsum
