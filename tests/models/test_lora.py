"""Adapters against the weights that they stand for."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.models import lora, sharding
from posttrain_jax.rollout import generate, sample
from tests.models import crossing, naive, tiny

RANK = 3
WIDE = {"num_heads": 8, "num_kv_heads": 4}


def model(mesh=None, *, config=None, **changes):
    """The small model with adapters of rank 3 on everything."""
    return dataclasses.replace(tiny.model(mesh, **changes), lora=config or lora.Lora(RANK, alpha=2.0))


def params(model, seed=0):
    """Random parameters of the base, and adapters whose B is no longer zero; the same on every mesh."""
    rng = np.random.default_rng(seed + 1)

    def one(path, like):
        noise = rng.normal(size=like.shape) / math.sqrt(like.shape[1])
        return jax.device_put(noise.astype(like.dtype), like.sharding)

    base = dataclasses.replace(model, lora=None)
    adapters = jax.tree.map_with_path(one, model.abstract_params()[lora.ADAPTERS])
    return tiny.params(base, seed) | {lora.ADAPTERS: adapters}


def weighted(logps, entropy):
    """A scalar through which every statistic sends a gradient of its own."""
    one, two = jax.random.split(jax.random.key(0))
    return jnp.sum(jax.random.normal(one, logps.shape) * logps) + jnp.sum(
        jax.random.normal(two, entropy.shape) * entropy
    )


def gradients(model, groups):
    """Statistics, and gradients of the adapters."""

    def loss(adapters, base):
        stats = model.token_stats(base | adapters, groups)
        return weighted(stats.logps, stats.entropy), stats

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def assert_same(ours, expected):
    """To 1e-5, or 5e-5 of a leaf's largest."""

    def one(path, x, y):
        limit = max(1e-5, 5e-5 * float(np.abs(y).max()))
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=0, atol=limit, err_msg=jax.tree_util.keystr(path))

    jax.tree.map_with_path(one, ours, expected)


def test_the_product_and_its_scale_by_hand():
    adapter = {"a": jnp.asarray([[1.0], [3.0]]), "b": jnp.asarray([[2.0, 0.5]])}
    x = jnp.asarray([[1.0, 2.0]])
    np.testing.assert_array_equal(lora.product(x, adapter, 2.0), [[28.0, 7.0]])  # (1 + 6) (2, 0.5) 2
    assert lora.Lora(4, alpha=8.0).scale == 2
    assert lora.Lora(4, alpha=8.0, rank_power=0.5).scale == 4  # rsLoRA
    merged = lora.merge({"up": jnp.ones((1, 2, 2))}, {"up": jax.tree.map(lambda x: x[None], adapter)}, 2.0)
    np.testing.assert_array_equal(merged["up"], [[[5.0, 2.0], [13.0, 4.0]]])


def test_fresh_adapters_change_nothing_and_are_the_same_on_every_mesh():
    one, many = model(**WIDE), model(sharding.make_mesh(data=2, fsdp=2, tensor=2), **WIDE)
    base, groups = tiny.params(dataclasses.replace(one, lora=None)), tiny.groups(P=2)
    fresh = one.adapt(base)
    for name, array in base.items():
        assert fresh[name] is array  # no copy
    score = jax.jit(one.token_stats)
    plain, adapted = score(base, groups), score(fresh, groups)
    np.testing.assert_array_equal(plain.logps, adapted.logps)
    np.testing.assert_array_equal(plain.entropy, adapted.entropy)
    a, b = fresh[lora.ADAPTERS]["down"]["a"], fresh[lora.ADAPTERS]["down"]["b"]
    assert (a.shape, b.shape, float(jnp.abs(b).max())) == ((2, 48, RANK), (2, RANK, 32), 0)
    np.testing.assert_allclose([float(a.max()), float(a.min())], [1 / math.sqrt(48), -1 / math.sqrt(48)], rtol=0.02)
    assert not np.array_equal(fresh[lora.ADAPTERS]["gate"]["a"], fresh[lora.ADAPTERS]["up"]["a"])
    spread = many.init(jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(one.init(jax.random.key(3))), jax.device_get(spread))
    jax.tree.map(
        lambda x, like: x.sharding.is_equivalent_to(like, x.ndim) or pytest.fail(f"{like}"), spread, many.shardings()
    )
    parts = {
        (name, leaf): x.addressable_shards[0].data.shape
        for name in ("query", "output")
        for leaf, x in spread[lora.ADAPTERS][name].items()
    }
    # like [width over fsdp, heads over tensor] and [heads over tensor, width over fsdp]
    assert parts["query", "a"] == (2, 16, RANK)
    assert parts["query", "b"] == (2, RANK, 32)
    assert parts["output", "a"] == (2, 32, RANK)
    assert parts["output", "b"] == (2, RANK, 16)


def test_gradients_equal_those_of_weights_written_as_sums():
    ours, groups = model(), tiny.groups(P=3, G=2)
    base, adapters = lora.base(params(ours)), {lora.ADAPTERS: params(ours)[lora.ADAPTERS]}

    def loss(adapters):
        blocks = {
            name: base["blocks"][name] + ours.lora.scale * jnp.einsum("lir,lro->lio", pair["a"], pair["b"])
            for name, pair in adapters[lora.ADAPTERS].items()
        }
        logps, entropy = naive.token_stats(ours.config, base | {"blocks": base["blocks"] | blocks}, groups)
        return weighted(logps, entropy), (logps, entropy)

    (_, (logps, entropy)), expected = jax.jit(jax.value_and_grad(loss, has_aux=True))(adapters)
    (_, stats), found = gradients(ours, groups)(adapters, base)
    np.testing.assert_allclose(stats.logps, logps, atol=1e-5 * float(jnp.abs(logps).max()))
    np.testing.assert_allclose(stats.entropy, entropy, atol=1e-5 * float(jnp.abs(entropy).max()))
    assert_same(found, expected)
    assert min(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected)) > 1e-3


def test_merged_weights_compute_the_same_and_some_projections_may_be_left_out():
    ours, groups = model(config=lora.Lora(RANK, alpha=2.0, projections=("value", "down"))), tiny.groups(P=3)
    adapted = params(ours)
    merged = ours.merge(adapted)
    plain = dataclasses.replace(ours, lora=None)
    assert merged.keys() == plain.abstract_params().keys()
    changed = {name for name, x in merged["blocks"].items() if x is not adapted["blocks"][name]}
    assert changed == {"value", "down"}
    stats, expected = jax.jit(ours.token_stats)(adapted, groups), jax.jit(plain.token_stats)(merged, groups)
    without = jax.jit(ours.token_stats)(lora.base(adapted), groups)
    largest = float(jnp.abs(expected.logps).max())
    np.testing.assert_allclose(stats.logps, expected.logps, atol=1e-5 * largest)
    assert float(jnp.abs(without.logps - expected.logps).max()) > 0.1 * largest
    assert ours.merge(merged) is merged
    assert plain.merge(merged) is merged


def test_adapters_stay_float32_beside_a_bfloat16_base():
    compute = dataclasses.replace(tiny.model().compute, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16)
    ours = dataclasses.replace(model(), compute=compute)
    adapted = params(ours)
    assert {x.dtype for x in jax.tree.leaves(lora.base(adapted))} == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in jax.tree.leaves(adapted[lora.ADAPTERS])} == {jnp.dtype(jnp.float32)}
    _, weights = ours.for_sampling(adapted)
    assert {x.dtype for x in jax.tree.leaves(weights[lora.ADAPTERS])} == {jnp.dtype(jnp.bfloat16)}
    assert ours.merge(adapted)["blocks"]["up"].dtype == jnp.bfloat16


@pytest.fixture(scope="module")
def on_one_device():
    ours, groups = model(**WIDE), tiny.groups(P=8)
    trained, base = lora.split(params(ours))
    return groups, jax.device_get((trained, base)), jax.device_get(gradients(ours, groups)(trained, base))


@pytest.mark.parametrize(
    "shape",
    [(2, 2, 2), *(pytest.param(x, marks=pytest.mark.slow) for x in [(1, 1, 2), (1, 4, 1)])],
    ids=lambda s: "data {} fsdp {} tensor {}".format(*s),
)
def test_every_mesh_gives_the_same_statistics_and_gradients(shape, on_one_device):
    groups, parts, ((_, expected), expected_gradient) = on_one_device
    ours = model(sharding.make_mesh(**dict(zip(sharding.AXES, shape, strict=True))), **WIDE)
    trained, base = jax.device_put(parts, lora.split(ours.shardings()))
    (_, stats), found = gradients(ours, jax.device_put(groups, ours.row_sharding))(trained, base)
    np.testing.assert_allclose(stats.logps, expected.logps, atol=1e-5 * float(np.abs(expected.logps).max()))
    np.testing.assert_allclose(stats.entropy, expected.entropy, atol=1e-5 * float(np.abs(expected.entropy).max()))
    assert_same(found, expected_gradient)


@pytest.mark.slow
def test_the_base_has_no_gradient_neither_in_memory_nor_between_devices():
    sizes = {"hidden_size": 80, "mlp_size": 1024, "vocab_size": 1024, "num_layers": 3, "attention_bias": False}
    ours = model(sharding.make_mesh(fsdp=2, tensor=2), **sizes)
    groups = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=ours.row_sharding), tiny.groups(P=2, S=3, G=1, T=2)
    )

    def loss(trained, frozen, groups):
        stats = ours.token_stats(trained | frozen, groups)
        return weighted(stats.logps, stats.entropy)

    def compiled(trained, frozen):
        shardings = jax.tree.map(lambda x: x.sharding, trained)
        step = jax.jit(jax.grad(loss), out_shardings=shardings)
        return step.lower(trained, frozen, groups).compile()

    def size(tree):
        return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))

    trained, base = lora.split(ours.abstract_params())
    adapters, all_of_it = compiled(trained, base), compiled(trained | base, {})
    assert adapters.memory_analysis().output_size_in_bytes < 1.1 * size(trained)
    assert all_of_it.memory_analysis().output_size_in_bytes > size(base)
    saved = all_of_it.memory_analysis().temp_size_in_bytes - adapters.memory_analysis().temp_size_in_bytes
    assert saved > size(base["blocks"]) / 3 + size(base["head"])  # gradients of one of three layers, and the head's
    reduced = [x for x in crossing.collectives(adapters.as_text()) if x.kind in ("all-reduce", "reduce-scatter")]
    weights = {(80, 512), (40, 512), (512, 80), (512, 40), (80, 16), (40, 16)}
    assert reduced
    assert not [x for x in reduced if x.shape[-2:] in weights]
    every = [x for x in crossing.collectives(all_of_it.as_text()) if x.kind in ("all-reduce", "reduce-scatter")]
    assert [x for x in every if x.shape[-2:] in weights]


def test_sampler_and_trainer_agree():
    ours = model(sharding.make_mesh(data=2, fsdp=2, tensor=2))
    adapted, groups = params(ours), jax.device_put(tiny.groups(P=8), ours.row_sharding)
    draw = generate.make_generate(ours, sample.Sampling(6, (3, 5)), 2)
    rollout = draw(adapted, groups.prompts, groups.prompt_lengths, groups.group_ids, jax.random.key(0))
    trainer = jax.jit(ours.token_stats)(adapted, rollout.groups)
    limit = 1e-5 * max(1, float(jnp.abs(trainer.logps).max()))
    np.testing.assert_allclose(rollout.sampler.logps, trainer.logps, atol=limit)
    _, weights = ours.for_sampling(lora.base(adapted))  # the base may be sampled from as well
    assert weights.keys() == lora.base(adapted).keys()


def test_trees_are_taken_apart_and_put_together():
    whole = {"embedding": 1, "blocks": {"up": 2}, lora.ADAPTERS: {"up": {"a": 3, "b": 4}}}
    trained, frozen = lora.split(whole)
    assert (trained, frozen) == ({lora.ADAPTERS: whole[lora.ADAPTERS]}, {"embedding": 1, "blocks": {"up": 2}})
    assert lora.join(trained, frozen) == whole
    assert lora.split(frozen) == (frozen, {})
    assert lora.base(whole) == frozen
    assert lora.join(frozen, {}) is frozen
    assert lora.split(trained) == (trained, {})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rank": 0}, "rank is 0: give at least 1"),
        ({"rank": 4, "alpha": 0.0}, "alpha is 0.0: at 0 they would change nothing"),
        ({"rank": 4, "alpha": math.inf}, "alpha is inf"),
        ({"rank": 4, "projections": ("query", "q_proj")}, r"unknown projections \['q_proj'\]: give each of query, key"),
        ({"rank": 4, "projections": ()}, r"projections \(\): give each of"),
        ({"rank": 4, "projections": ("up", "up")}, "at most once"),
    ],
)
def test_adapters_that_mean_nothing_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        lora.Lora(**changes)


def test_adapters_without_a_scale_are_refused():
    ours = model()
    with pytest.raises(ValueError, match="says nothing of their scale: give it `lora`"):
        dataclasses.replace(ours, lora=None).token_stats(params(ours), tiny.groups(P=1))
