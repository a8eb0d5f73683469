"""Values and scores of the prompt-shared pass against a plain decoder whose head is the scalar one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.models import lora, scalar_model, sharding
from tests.models import naive, tiny

WIDE = {"num_heads": 8, "num_kv_heads": 4}


def make(mesh=None, *, adapters=None, size=3, bias=True, gates=2, **changes):
    trunk = dataclasses.replace(tiny.model(mesh, **changes), lora=adapters)
    return scalar_model.ScalarModel(trunk, size=size, bias=bias, gates=gates)


def random_params(model, seed=0):
    """Random everything, the head's bias included; the same on every mesh."""
    rng = np.random.default_rng(seed)

    def one(path, like):
        noise = rng.normal(size=like.shape) * (1 if path[-1].key.endswith("bias") else like.shape[0] ** -0.5)
        return jax.device_put(noise.astype(like.dtype), like.sharding)

    head = {name: x for name, x in model.abstract_params().items() if name in lora.HEADS}
    return tiny.params(model.trunk, seed) | jax.tree.map_with_path(one, head)


def naively(model, params, groups):
    """Token scores, values of every number and rewards, one sequence at a time."""
    config = dataclasses.replace(model.config, tie_embeddings=False)
    params = params | {"head": params["score"]}
    P, G, T = groups.completions.shape
    scores, before, rewards = (np.zeros((P, G, T, model.size)) for _ in range(3))
    rewards = rewards[:, :, 0]
    longest = groups.prompts.shape[1] + T
    logits = jax.jit(lambda ids: naive.logits(config, params, ids))
    for p in range(P):
        prompt = np.asarray(groups.prompts)[p, : groups.prompt_lengths[p]]
        for g in range(G):
            end = int(groups.completion_lengths[p, g])
            ids = np.concatenate([prompt, np.asarray(groups.completions)[p, g, :end]])
            # one length for all: no token sees what stands behind it
            said = np.asarray(logits(np.pad(ids, (0, longest - len(ids))))) + np.asarray(params["score_bias"])
            scores[p, g, :end], before[p, g, :end] = said[len(prompt) : len(ids)], said[len(prompt) - 1 : len(ids) - 1]
            rewards[p, g] = said[len(ids) - 1]
    return scores, before, rewards


def test_scores_values_and_rewards_are_read_where_they_should():
    model, groups = make(), tiny.groups(P=2, G=2, completion_lengths=[[6, 0], [1, 3]])
    params = random_params(model)
    scores, before, rewards = naively(model, params, groups)
    np.testing.assert_allclose(jax.jit(model.token_scores)(params, groups), scores, atol=2e-5)
    np.testing.assert_allclose(jax.jit(model.rewards)(params, groups), rewards, atol=2e-5)
    critic = make(size=1, gates=0)
    one = {name: x for name, x in params.items() if name != "prompt_gate"}
    one |= {"score": params["score"][:, :1], "score_bias": params["score_bias"][:1]}
    np.testing.assert_allclose(jax.jit(critic.values)(one, groups), before[..., 0], atol=2e-5)
    # the last token's value is the score after the token before it
    np.testing.assert_allclose(before[0, 0, 1:], scores[0, 0, :-1], atol=1e-12)


def test_tokens_that_are_not_counted_are_read_all_the_same():
    """A tool's output has no score of its own, and the reward is read after it."""
    model, groups = make(), tiny.groups(P=2, completion_lengths=np.full((2, 3), 6))
    params = random_params(model)
    masked = dataclasses.replace(groups, completion_mask=groups.completion_mask.at[:, :, 4:].set(False))
    scores, whole = (jax.jit(model.token_scores)(params, x) for x in (masked, groups))
    np.testing.assert_array_equal(scores[:, :, :4], whole[:, :, :4])
    assert (np.asarray(scores[:, :, 4:]) == 0).all()
    np.testing.assert_array_equal(*(jax.jit(model.rewards)(params, x) for x in (masked, groups)))


def objective(model, params, groups):
    """A scalar through which every output sends a gradient of its own."""
    scores, rewards = model.token_scores(params, groups), model.rewards(params, groups)
    one, two = jax.random.split(jax.random.key(0))
    return jnp.sum(jax.random.normal(one, scores.shape) * scores) + jnp.sum(
        jax.random.normal(two, rewards.shape) * rewards
    )


@pytest.fixture(scope="module")
def on_one_device():
    model, groups = make(gates=0, **WIDE), tiny.groups(P=8)
    params = random_params(model)
    run = jax.jit(jax.value_and_grad(lambda params: objective(model, params, groups)))
    return groups, jax.device_get(params), jax.device_get(run(params))


@pytest.mark.slow
def test_eight_devices_give_the_same_scores_and_gradients(on_one_device):
    groups, params, (expected, expected_gradient) = on_one_device
    model = make(sharding.make_mesh(data=2, fsdp=2, tensor=2), gates=0, **WIDE)
    groups = jax.device_put(groups, model.row_sharding)
    run = jax.jit(jax.value_and_grad(lambda params, groups: objective(model, params, groups)))
    value, gradient = run(jax.device_put(params, model.shardings()), groups)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-4)

    def one(path, x, y):
        limit = max(1e-5, 5e-5 * float(np.abs(y).max()))
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=0, atol=limit, err_msg=jax.tree_util.keystr(path))

    jax.tree.map_with_path(one, gradient, expected_gradient)


def test_the_trunk_is_the_language_models_and_the_head_begins_at_zero():
    language = tiny.model()
    words = tiny.params(language)
    model = scalar_model.ScalarModel(language, size=2, bias=True, gates=3)
    params = model.from_language_model(words, jax.random.key(0))
    assert set(params) == (set(words) - {"head"}) | {"score", "score_bias", "prompt_gate"}
    assert params["blocks"]["up"] is words["blocks"]["up"]
    assert all((params[name] == 0).all() for name in lora.HEADS if name in params)
    described = jax.tree.map(lambda x: (x.shape, x.dtype), params)
    assert described == jax.tree.map(lambda x: (x.shape, x.dtype), model.abstract_params())


def test_a_spread_head_is_the_same_on_every_mesh_and_another_under_another_key():
    one, many = make(), make(sharding.make_mesh(data=2, fsdp=2, tensor=2))
    first, same = (model.init(jax.random.key(3), spread=0.02) for model in (one, many))
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(first), jax.device_get(same))
    assert 0.01 < float(jnp.std(first["score"])) < 0.03
    assert (first["score_bias"] == 0).all()
    other = one.from_language_model(first, jax.random.key(4), spread=0.02)
    assert not jnp.allclose(other["score"], first["score"])
    assert other["embedding"] is first["embedding"]


def test_beside_adapters_the_head_is_trained_whole_and_merging_changes_nothing():
    model = make(adapters=lora.Lora(rank=2), num_layers=1)
    params = model.init(jax.random.key(0), spread=0.5)
    adapters = jax.tree.map(lambda x: x + 0.1, params[lora.ADAPTERS])
    params = params | {lora.ADAPTERS: adapters}
    trained, frozen = lora.split(params)
    assert set(trained) == {lora.ADAPTERS, "score", "score_bias", "prompt_gate"}
    assert set(frozen) == {"embedding", "blocks", "final_norm"}
    assert lora.join(trained, frozen) == params
    merged, groups = model.merge(params), tiny.groups(P=1)
    assert lora.ADAPTERS not in merged
    expected = jax.jit(model.rewards)(params, groups)
    np.testing.assert_allclose(jax.jit(model.rewards)(merged, groups), expected, atol=1e-5)


def test_a_head_that_says_nothing_and_a_critic_of_several_numbers_are_refused():
    with pytest.raises(ValueError, match="size=0, gates=0 says nothing"):
        scalar_model.ScalarModel(tiny.model(), size=0)
    model = make()
    with pytest.raises(ValueError, match="a value is one number, and this head says 3"):
        jax.eval_shape(model.values, model.abstract_params(), tiny.groups())
