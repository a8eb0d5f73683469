"""Masks of tokens that are learned beside the policy."""

import dataclasses
import functools

import bigram
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax import comparison
from posttrain_jax.losses import generator
from posttrain_jax.models import lora, sharding, token_mask
from tests.models import tiny

GROUPS = tiny.groups(vocab=16)
KL = {"kl": comparison.Comparison(generator.ForwardKL(), {"ref": 1.0})}


@pytest.fixture(scope="module")
def masked():
    """A bigram with masks, its parameters at the start, and the reference's logits."""
    actor = bigram.model(sharding.make_mesh(), 16)
    model = token_mask.Masked(actor)
    params = model.from_language_model(actor.init(jax.random.key(0)))
    return model, params, model.logits(params, GROUPS)


@functools.partial(jax.jit, static_argnums=0)
def stats(model, params, ref):
    return model.token_stats(params, GROUPS, comparisons=KL, fixed={"ref": ref})


def test_masks_begin_at_one_and_are_zero_behind_the_end(masked):
    model, params, ref = masked
    found = stats(model, params, ref)
    for name in ("reward", "kl"):
        np.testing.assert_allclose(found.masks[name], GROUPS.completion_mask, atol=1e-6)
    plain = jax.jit(model.actor.token_stats)(model.policy(params), GROUPS)
    np.testing.assert_allclose(found.logps, plain.logps, atol=1e-5)
    assert not jax.eval_shape(model.token_stats, params, GROUPS).masks


def test_the_equation_by_hand():
    """One token, two layers of width 2: normalised to (1, -1) and (-1, 1) up to eps."""
    layers = jnp.array([[[[[3.0, 1.0], [1.0, 5.0]]]]])
    params = {
        "weight": jnp.array([[[0.5, 0.0], [0.25, 0.25]]]),
        "bias": jnp.array([[1.0, -0.5]]),
        "mixer": jnp.array([[2.0, 1.0]]),
        "norm_scale": jnp.array([[1.0, 2.0]]),
        "norm_bias": jnp.array([[0.0, 4.0]]),
    }
    # LN = (1, 2) and (-1, 6): s = 0.5 + 1 = 1.5 and -0.25 + 1.5 - 0.5 = 0.75; m = 3 + 0.75
    np.testing.assert_allclose(token_mask._masks(params, layers)[..., 0], [[[3.75]]], atol=1e-4)
    dead = {**params, "mixer": -params["mixer"]}
    np.testing.assert_array_equal(token_mask._masks(dead, layers), 0)


def test_gradients_flow_to_the_masks_alone(masked):
    model, params, ref = masked

    def total(params, ref):
        return jnp.sum(stats(model, params, ref).masks["reward"] * jnp.arange(6.0)[None, None])

    by_params, by_ref = jax.jit(jax.grad(total, argnums=(0, 1)))(params, ref)
    weight = by_params["masks"]["weight"]
    assert float(jnp.abs(weight[0]).max()) > 1e-2
    np.testing.assert_array_equal(weight[1], 0)  # the other mask's
    assert not any(map(np.any, jax.tree.leaves((model.policy(by_params), by_ref))))


def test_one_mask_may_serve_both(masked):
    _, _, ref = masked
    model = token_mask.Masked(bigram.model(sharding.make_mesh(), 16), count=1)
    params = model.from_language_model(model.actor.init(jax.random.key(0)))
    masks = {**params["masks"], "weight": jnp.ones_like(params["masks"]["weight"]) / 9}
    found = stats(model, params | {"masks": masks}, ref).masks
    np.testing.assert_array_equal(found["reward"], found["kl"])
    assert float(jnp.std(found["kl"])) > 1e-2
    with pytest.raises(ValueError, match="count=3: take 1 mask"):
        token_mask.Masked(model.actor, count=3)


def test_masks_are_trained_beside_adapters():
    actor = dataclasses.replace(tiny.model(), lora=lora.Lora(rank=2))
    model = token_mask.Masked(actor)
    shapes = model.abstract_params()
    trained, frozen = lora.split(shapes)
    assert set(trained) == {"adapters", "masks"}
    assert set(frozen) == set(tiny.model().abstract_params())
    assert shapes["masks"]["weight"].shape == (2, 2, 32)
