"""A policy beside a critic: what they say is what each says alone, on any mesh and in any micro-batches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax import types
from posttrain_jax.models import actor_critic, lora, scalar_model, sharding
from posttrain_jax.recipes.policy.ppo import PPO
from posttrain_jax.train import update
from tests.models import tiny

WIDE = {"num_heads": 8, "num_kv_heads": 4, "num_layers": 1}


def apart(mesh=None):
    """A critic with another width than the policy's."""
    critic = scalar_model.ScalarModel(tiny.model(mesh, **WIDE, hidden_size=16))
    return actor_critic.Apart(tiny.model(mesh, **WIDE), critic)


def shared(mesh=None):
    return actor_critic.Shared(tiny.model(mesh, **WIDE))


def random_params(model):
    """Random everything, heads included; the same on every mesh."""
    rng = np.random.default_rng(0)

    def one(path, like):
        noise = rng.normal(size=like.shape) / 4
        noise = 1 + noise / 4 if path[-1].key.endswith("norm") else noise
        return jax.device_put(noise.astype(like.dtype), like.sharding)

    return jax.tree.map_with_path(one, model.abstract_params())


def test_two_models_say_what_each_says_alone():
    model, groups = apart(), tiny.groups()
    params = random_params(model)
    stats = jax.jit(model.token_stats)(params, groups)
    alone = jax.jit(model.actor.token_stats)(params["actor"], groups)
    np.testing.assert_allclose(stats.logps, alone.logps, atol=1e-5)
    np.testing.assert_allclose(stats.values, jax.jit(model.critic.values)(params["critic"], groups), atol=1e-5)
    assert np.abs(stats.values).max() > 0.1
    assert jax.eval_shape(model.token_stats, {"actor": params["actor"]}, groups).values is None


def test_two_heads_read_the_same_states():
    model, groups = shared(), tiny.groups()
    params = random_params(model)
    stats = jax.jit(model.token_stats)(params, groups)
    words = {name: x for name, x in params.items() if name != "score"}
    alone = jax.jit(model.actor.token_stats)(words, groups)
    np.testing.assert_allclose(stats.logps, alone.logps, atol=1e-5)
    hidden = jax.jit(model.actor.hidden)(words, groups)
    expected = jnp.where(groups.completion_mask, (hidden @ params["score"])[..., 0], 0)
    np.testing.assert_allclose(stats.values, expected, atol=1e-5)
    fresh = model.from_language_model(words)
    assert (fresh["score"] == 0).all()
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, model.abstract_params())


def batch_of(model, groups):
    """What PPO would learn from, random."""
    rng, mask = np.random.default_rng(1), groups.completion_mask
    floats = lambda: jnp.where(mask, rng.normal(size=mask.shape).astype(np.float32), 0)  # noqa: E731
    extra = {"old_values": floats(), "returns": floats()}
    weights = jnp.where(mask, 1 / mask.sum(), 0).astype(jnp.float32)
    batch = types.PolicyBatch(mask, floats(), weights, extra=extra)
    return jax.device_put((groups, batch), model.row_sharding)


@pytest.mark.slow
@pytest.mark.parametrize("make", [apart, shared])
def test_eight_devices_and_micro_batches_give_the_same_gradients(make):
    recipe, groups = PPO(kl_coef=0.0), tiny.groups(P=8)
    found = []
    for mesh, micro_batches in ((None, 1), (sharding.make_mesh(data=2, fsdp=2, tensor=2), 2)):
        model = make(mesh)
        gradients = jax.jit(update.make_gradients(model, recipe, micro_batches=micro_batches))
        found.append(jax.device_get(gradients(random_params(model), *batch_of(model, groups))))
    (expected, one), (gradient, many) = found
    np.testing.assert_allclose(many["loss"], one["loss"], rtol=1e-5)
    for x, y in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, atol=max(1e-5, 5e-5 * np.abs(y).max()))


def test_beside_adapters_the_shared_head_is_trained():
    model = actor_critic.Shared(dataclasses.replace(tiny.model(num_layers=1), lora=lora.Lora(rank=2)))
    params = model.from_language_model(model.actor.init(jax.random.key(0)))
    trained, frozen = lora.split(params)
    assert set(trained) == {"adapters", "score"}
    assert jax.eval_shape(model.token_stats, lora.join(trained, frozen), tiny.groups()).values is not None


def test_what_cannot_be_trained_together_is_refused():
    policy, critic = tiny.model(), scalar_model.ScalarModel(tiny.model())
    with pytest.raises(ValueError, match="the critic says 2"):
        actor_critic.Apart(policy, dataclasses.replace(critic, size=2))
    with pytest.raises(ValueError, match="lie on different meshes"):
        actor_critic.Apart(tiny.model(sharding.make_mesh(data=2)), critic)
    with pytest.raises(ValueError, match="use `Shared` with adapters"):
        actor_critic.Apart(dataclasses.replace(policy, lora=lora.Lora(rank=2)), critic)
