"""The prompt-shared pass and its statistics against a plain decoder that computes every logit."""

import collections
import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sparing

from posttrain_jax.models import config, language_model, sharding
from tests.models import crossing, naive, tiny

LLAMA3 = config.Llama3Scaling(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=16)
PLAIN = {"attention_bias": False, "qk_norm": False}


def weighted(stats, seed=0):
    """A scalar through which every statistic sends a gradient of its own."""
    logps, entropy = (stats.logps, stats.entropy) if hasattr(stats, "logps") else stats
    one, two = jax.random.split(jax.random.key(seed))
    return jnp.sum(jax.random.normal(one, logps.shape) * logps) + jnp.sum(
        jax.random.normal(two, entropy.shape) * entropy
    )


def shared(model, groups, **options):
    """Statistics and gradients of the package."""

    def loss(params):
        stats = model.token_stats(params, groups, **options)
        return weighted(stats), stats

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def plain(model, groups, **options):
    """The same from the naive decoder."""

    def loss(params):
        stats = naive.token_stats(model.config, params, groups, **options)
        return weighted(stats), stats

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def assert_same(ours, expected, *, rtol=5e-5):
    """Statistics to 1e-5 of the largest; gradients to 1e-5, or `rtol` of a leaf's largest entry."""
    (_, stats), gradient = ours
    (_, (logps, entropy)), expected_gradient = expected
    np.testing.assert_allclose(stats.logps, logps, atol=1e-5 * max(1, float(jnp.abs(logps).max())))
    np.testing.assert_allclose(stats.entropy, entropy, atol=1e-5 * max(1, float(jnp.abs(entropy).max())))
    assert_same_leaves(gradient, expected_gradient, rtol=rtol)


def assert_same_leaves(ours, expected, *, rtol=5e-5):
    def one(path, x, y):
        limit = max(1e-5, rtol * float(np.abs(y).max()))
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=0, atol=limit, err_msg=jax.tree_util.keystr(path))

    jax.tree.map_with_path(one, ours, expected)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        pytest.param({}, {"P": 4, "S": 7, "G": 3, "T": 6}, id="qkv biases, q/k norms; ragged, one empty completion"),
        pytest.param(
            {**PLAIN, "tie_embeddings": True, "sliding_window": 3, "rope_scaling": config.LinearScaling(4.0)},
            {"P": 3, "S": 6, "G": 2, "T": 8},
            id="tied, sliding window inside and across the prompt's end, linear rope",
        ),
        pytest.param(
            {"output_bias": True, "mlp_bias": True, "rope_scaling": LLAMA3, "qk_norm": False},
            {"P": 2, "S": 40, "G": 2, "T": 2},
            id="all biases, llama3 rope, a prompt much longer than the completion",
        ),
        pytest.param(
            {**PLAIN, "num_kv_heads": 1, "head_dim": 12, "num_layers": 1},
            {"P": 3, "S": 5, "G": 1, "T": 1},
            id="one key head, head_dim unlike hidden / heads, one completion of one token",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_statistics_and_gradients_equal_a_full_forward_with_all_logits(changes, shape):
    model = tiny.model(**changes)
    groups = tiny.groups(**shape)
    if shape["T"] > 1:
        lengths = np.array(groups.completion_lengths)
        lengths[0, 0], lengths[-1, -1] = shape["T"], 0
        groups = tiny.groups(**shape, completion_lengths=lengths)
    else:
        groups = tiny.groups(**shape, completion_lengths=np.ones((shape["P"], shape["G"]), int))
    params = tiny.params(model)
    assert_same(shared(model, groups)(params), plain(model, groups)(params))


def test_temperature_and_kept_ids_change_the_distribution_that_is_scored():
    model, groups = tiny.model(), tiny.groups(P=2, G=2, T=5)
    params = tiny.params(model)
    others = np.random.default_rng(1).integers(0, 64, (*groups.completions.shape, 4))
    others[:, :, 1] = -1  # fewer kept than stored
    kept = jnp.concatenate([groups.completions[..., None], jnp.asarray(others, jnp.int32)], axis=-1)
    options = {"temperature": 0.7, "kept_ids": kept}
    assert_same(shared(model, groups, **options)(params), plain(model, groups, **options)(params))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_scoring_needs_a_positive_temperature(temperature):
    model, groups = tiny.model(), tiny.groups(P=1)
    with pytest.raises(ValueError, match="scored at a positive one only"):
        jax.eval_shape(lambda p: model.token_stats(p, groups, temperature=temperature), model.abstract_params())


@pytest.fixture(scope="module")
def all_stored():
    groups, model = tiny.groups(P=2), tiny.model(stored=None)
    return groups, shared(model, groups)(tiny.params(model))


STORED = {"products": config.PRODUCTS, "attention": ("attention",), "nothing": ()}


@pytest.mark.parametrize("stored", sparing.some(STORED, "products"))
def test_what_is_stored_for_the_backward_pass_changes_nothing(all_stored, stored):
    groups, ((_, expected), gradient) = all_stored
    model = tiny.model(stored=stored)
    assert_same(shared(model, groups)(tiny.params(model)), ((None, (expected.logps, expected.entropy)), gradient))


def test_less_memory_is_taken_where_less_is_stored():
    """Of eight layers, 64 tokens each: their products (224 floats a token) are nearly all that differs."""
    groups = tiny.groups(P=2, S=8, G=4, T=8)

    def temporaries(stored):
        model = tiny.model(num_layers=8, stored=stored)
        return shared(model, groups).lower(model.abstract_params()).compile().memory_analysis().temp_size_in_bytes

    products, nothing = temporaries(config.PRODUCTS), temporaries(())
    assert products - nothing > 0.5 * 8 * 64 * 4 * (32 + 16 + 16 + 32 + 48 + 48 + 32)


def test_neither_what_travels_nor_the_program_grows_with_depth():
    """Layers are stacked and scanned: Python sees as many arrays, and XLA as many operations, of any number of them."""
    groups = tiny.groups(P=1, S=2, G=1, T=2)

    def size(layers):
        model = tiny.model(num_layers=layers)
        params = model.abstract_params()
        traced = jax.make_jaxpr(lambda params: model.token_stats(params, groups).logps)(params)
        return len(jax.tree.leaves(params)), str(traced).count("\n")

    assert size(2) == size(5)


def test_bfloat16_operands_are_added_up_in_float32():
    """In the program, as a CPU adds up in float32 whatever it says: layers, attention and head."""
    model, groups = tiny.model(dtype=jnp.bfloat16), tiny.groups(P=1, S=2, G=1, T=2)
    stats = jax.jit(lambda params: model.token_stats(params, groups))
    text = stats.lower(model.abstract_params()).as_text()
    lines = [line.split(" : ")[-1] for line in text.splitlines() if "dot_general" in line]
    assert len(lines) > 10
    assert {tuple(re.findall(r"tensor<(?:\d+x)*(\w+)>", line)) for line in lines} == {("bf16", "bf16", "f32")}


def test_padding_and_tokens_outside_the_mask_change_nothing():
    """Neither values nor gradients; statistics there are 0, and an all-masked row contributes exactly nothing."""
    model = tiny.model()
    groups = tiny.groups(P=3, S=7, G=2, T=6, lengths=[2, 7, 4], completion_lengths=[[6, 0], [3, 1], [0, 0]])
    prompt_mask = np.arange(7) < np.asarray(groups.prompt_lengths)[:, None]
    other = dataclasses.replace(
        groups,
        prompts=jnp.asarray(np.where(prompt_mask, groups.prompts, 63), jnp.int32),
        completions=jnp.asarray(np.where(groups.completion_mask, groups.completions, 62), jnp.int32),
    )

    @jax.jit
    def run(params, groups):
        def loss(params):
            stats = model.token_stats(params, groups)
            return weighted(stats), stats

        return jax.value_and_grad(loss, has_aux=True)(params)

    params = tiny.params(model)
    ((_, stats), gradient), ((_, other_stats), other_gradient) = run(params, groups), run(params, other)
    for x in (stats.logps, stats.entropy):
        assert (np.asarray(x)[~np.asarray(groups.completion_mask)] == 0).all()
    np.testing.assert_array_equal(stats.logps, other_stats.logps)
    assert_same_leaves(gradient, other_gradient)
    empty = dataclasses.replace(groups, completion_mask=jnp.zeros_like(groups.completion_mask))
    assert all((x == 0).all() for x in jax.tree.leaves(run(params, empty)[1]))


def test_decoding_token_by_token_equals_the_teacher_forced_pass():
    model = tiny.model(sliding_window=5)
    groups = tiny.groups(P=3, S=7, G=2, T=6)
    params = tiny.params(model)

    @jax.jit
    def step(params, cache, tokens, own, start):
        return model.extend(params, cache, tokens, own, start)

    cache, _ = jax.jit(model.encode)(params, groups.prompts, groups.prompt_lengths)
    whole, nothing = jax.jit(model.extend)(params, cache, groups.completions)
    assert nothing is None
    own, columns = model.own_cache(3, 2, 6), []
    for t in range(6):
        hidden, own = step(params, cache, groups.completions[:, :, t : t + 1], own, jnp.int32(t))
        columns.append(hidden)
    np.testing.assert_allclose(jnp.concatenate(columns, axis=2), whole, atol=2e-6 * float(jnp.abs(whole).max()))

    # Several tokens at a time, the cache longer than needed.
    own, parts = model.own_cache(3, 2, 8), []
    for start in (0, 3):
        hidden, own = step(params, cache, groups.completions[:, :, start : start + 3], own, jnp.int32(start))
        parts.append(hidden)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=2), whole, atol=2e-6 * float(jnp.abs(whole).max()))


@pytest.mark.parametrize("axes", sparing.some({"one": {}, "eight": {"data": 2, "fsdp": 2, "tensor": 2}}, "eight"))
def test_completions_that_go_on_at_places_of_their_own_equal_the_teacher_forced_pass(axes):
    """Blocks of tokens at unequal starts; what a block wrote behind its own tokens is written over."""
    model = tiny.model(sharding.make_mesh(**axes), sliding_window=5)
    groups = tiny.groups(P=4, S=7, G=2, T=6)
    params = tiny.params(model)
    cache, _ = jax.jit(model.encode)(params, groups.prompts, groups.prompt_lengths)
    whole = np.asarray(jax.jit(model.extend)(params, cache, groups.completions)[0])

    step = jax.jit(model.extend)
    starts = jnp.asarray([[0, 1], [2, 3], [3, 0], [1, 2]], jnp.int32)
    own = model.own_cache(4, 2, 9)
    _, own = step(params, cache, groups.completions[:, :, :3], own, jnp.zeros_like(starts))
    places = starts[..., None] + jnp.arange(3)[None, None]
    hidden, own = step(params, cache, jnp.take_along_axis(groups.completions, places, axis=2), own, starts)
    expected = np.take_along_axis(whole, np.asarray(places)[..., None], axis=2)
    np.testing.assert_allclose(hidden, expected, atol=2e-6 * np.abs(whole).max())


WIDE = {"num_heads": 8, "num_kv_heads": 4}


@pytest.fixture(scope="module")
def on_one_device():
    model, groups = tiny.model(**WIDE), tiny.groups(P=8)
    params = tiny.params(model)
    return groups, jax.device_get(params), jax.device_get(shared(model, groups)(params))


@pytest.mark.parametrize(
    "shape",
    [(2, 2, 2), *(pytest.param(x, marks=pytest.mark.slow) for x in [(1, 2, 4), (2, 1, 1), (1, 1, 2), (1, 8, 1)])],
    ids=lambda shape: "data {} fsdp {} tensor {}".format(*shape),
)
def test_every_mesh_gives_the_same_statistics_and_gradients(shape, on_one_device):
    groups, params, ((_, expected), expected_gradient) = on_one_device
    model = tiny.model(sharding.make_mesh(**dict(zip(sharding.AXES, shape, strict=True))), **WIDE)
    groups = jax.device_put(groups, model.row_sharding)
    ours = shared(model, groups)(jax.device_put(params, model.shardings()))
    assert_same(ours, ((None, (expected.logps, expected.entropy)), expected_gradient))


def test_parameters_are_the_same_on_every_mesh_and_lie_where_the_rules_say():
    one, many = tiny.model(), tiny.model(sharding.make_mesh(data=2, fsdp=2, tensor=2))
    params = many.init(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(one.init(jax.random.key(3))), jax.device_get(params))
    jax.tree.map(lambda x, s: x.sharding.is_equivalent_to(s, x.ndim) or pytest.fail(f"{s}"), params, many.shardings())
    described = jax.tree.map(lambda x: (x.shape, x.dtype), params)
    assert described == jax.tree.map(lambda x: (x.shape, x.dtype), many.abstract_params())
    assert params["embedding"].addressable_shards[0].data.shape == (32, 16)
    assert params["blocks"]["down"].addressable_shards[0].data.shape == (2, 24, 16)


@pytest.mark.parametrize(
    ("mesh", "changes", "sentence"),
    [
        ({"tensor": 2}, {"vocab_size": 63}, "mesh axis tensor=2 does not divide vocab_size=63"),
        ({"tensor": 4}, {}, "mesh axis tensor=4 does not divide num_kv_heads=2"),
        ({"tensor": 2}, {"mlp_size": 49}, "mesh axis tensor=2 does not divide mlp_size=49"),
        ({"fsdp": 4}, {"hidden_size": 30}, "mesh axis fsdp=4 does not divide hidden_size=30"),
    ],
)
def test_a_mesh_that_does_not_divide_the_model_is_refused(mesh, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        tiny.model(sharding.make_mesh(**mesh), **changes)


# Sizes of which no two, nor their halves, are alike: a shape names its array.
DISTINCT = {
    "vocab_size": 208,
    "hidden_size": 40,
    "head_dim": 6,
    "mlp_size": 56,
    "num_layers": 3,
    "attention_bias": False,
}


def test_no_logits_nor_scores_cross_devices_in_training():
    model = tiny.model(sharding.make_mesh(data=2, fsdp=2, tensor=2), head_chunk=9, **DISTINCT)
    groups = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=model.row_sharding),
        tiny.groups(P=8, S=19, G=5, T=13, vocab=208),
    )

    def loss(params, groups):
        return weighted(model.token_stats(params, groups))

    step = jax.jit(jax.value_and_grad(loss), out_shardings=(None, model.shardings()))
    found = crossing.collectives(step.lower(model.abstract_params(), groups).compile().as_text())
    check_training_collectives(found)


def test_prompts_and_completions_share_every_gather_of_a_weight():
    """Once forward and once backward: of the seven matrices of a layer, gate and up have one shape."""
    model = tiny.model(sharding.make_mesh(fsdp=2), **DISTINCT)
    groups = tiny.groups(P=2, S=19, G=5, T=13, vocab=208)
    step = jax.jit(
        jax.grad(lambda params: weighted(model.token_stats(params, groups))), out_shardings=model.shardings()
    )
    found = crossing.collectives(step.lower(model.abstract_params()).compile().as_text())
    gathered = collections.Counter(c.shape for c in found if c.loops and c.kind == "all-gather")
    assert gathered == {(40, 24): 2, (40, 12): 4, (24, 40): 2, (40, 56): 4, (56, 40): 2}


def check_training_collectives(found):
    assert found
    assert {c.kind for c in found} <= {"all-gather", "all-reduce", "reduce-scatter"}  # no row moves
    rows, vocab, width = 8 // 4, 208 // 2, 40
    tokens = 19 + 5 * 13  # of a row
    hidden = {(rows, tokens, width), (rows * tokens, width), (rows, 5, 13, width), (rows * 5 * 13, width)}
    per_chunk = {(9,), (3, 9)}  # maximum, and the three sums of the tokens of one chunk
    weights = {  # of one layer, and of the vocabulary, whole or cut over fsdp; norms and scalars
        *((a, b) for a in (width, width // 2) for b in (12, 6, 28)),
        *((b, a) for a in (width, width // 2) for b in (12, 6, 28)),
        *((vocab, a) for a in (width, width // 2)),
        *((a, vocab) for a in (width, width // 2)),
        *((), (width,), (1, width), (6,), (1, 6), (1, 1, 6)),
    }
    squares = {(rows * tokens,), (rows, tokens)}  # of the cut residual, for its norms
    norms = {(3, width), (3, width // 2), (1, width // 2), (width // 2,)}  # their gradients
    assert {c.shape for c in found} <= hidden | per_chunk | weights | squares | norms
    assert not [c for c in found if c.loops and vocab in c.shape]  # the head gathers its weight once


def test_sampling_keeps_norms_and_biases_as_training_reads_them():
    model = tiny.model(dtype=jnp.bfloat16)
    sampler, weights = model.for_sampling(tiny.params(model))
    assert weights["blocks"]["query"].dtype == weights["head"].dtype == jnp.bfloat16
    assert weights["blocks"]["key_norm"].dtype == weights["blocks"]["query_bias"].dtype == jnp.float32
    assert isinstance(sampler, language_model.LanguageModel)
    assert sampler.compute.stored is None
    assert sampler.rules.width is None


def test_temporaries_of_the_whole_gradient_do_not_grow_with_the_vocabulary_times_tokens():
    def temporaries(vocab_size):
        model = tiny.model(vocab_size=vocab_size, num_layers=1, head_chunk=16, tie_embeddings=True)
        groups = jax.eval_shape(lambda: tiny.groups(P=8, S=8, G=4, T=64, vocab=vocab_size))

        def total(params, groups):
            stats = model.token_stats(params, groups)
            return jnp.sum(stats.logps) + jnp.sum(stats.entropy)

        compiled = jax.jit(jax.grad(total)).lower(model.abstract_params(), groups).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    tokens, small, large = 8 * 4 * 64, 512, 8192
    growth = temporaries(large) - temporaries(small)
    assert growth < 0.1 * 4 * tokens * (large - small)  # one array of logits would already be ten times that
