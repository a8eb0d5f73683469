"""What one sees of the decoder's layers, where tokens are predicted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.models import layer
from tests.models import tiny


@pytest.fixture(scope="module")
def inside():
    """A small model, its parameters, random groups, and every layer whole."""
    model, groups = tiny.model(), tiny.groups()
    params = tiny.params(model)
    take = lambda made: (flat(made.mixed), made.between, made.gated, made.residual)  # noqa: E731
    hidden, states = jax.jit(lambda params: model.states(params, groups, take))(params)
    np.testing.assert_allclose(hidden, jax.jit(model.hidden)(params, groups), atol=1e-5)
    return params, states, hidden


def flat(x):
    """Heads of `[P, K, G, R, T, hd]` side by side."""
    return jnp.transpose(x, (0, 2, 4, 1, 3, 5)).reshape(x.shape[0], x.shape[2], x.shape[4], -1)


def test_the_stream_after_the_last_layer_is_what_the_head_reads(inside):
    params, states, hidden = inside
    last = states[-1][-1]
    normal = (
        last / jnp.sqrt(jnp.mean(last**2, axis=-1, keepdims=True) + 1e-6) * params["final_norm"].reshape(1, 1, 1, -1)
    )
    np.testing.assert_allclose(normal, hidden, atol=1e-5)


def test_each_half_of_a_layer_adds_its_product(inside):
    params, (mixed, between, gated, residual), _ = inside
    for index in range(2):
        added = gated[index] @ params["blocks"]["down"][index]
        np.testing.assert_allclose(residual[index] - between[index], added, atol=1e-5)
    np.testing.assert_allclose(between[1] - residual[0], mixed[1] @ params["blocks"]["output"][1], atol=1e-5)


def test_neither_the_stream_nor_what_is_added_to_it_is_rounded_beside_bfloat16_operands():
    """Of many layers, each adds little to a large stream: in bfloat16 what is added would be lost."""
    model, groups = tiny.model(dtype=jnp.bfloat16), tiny.groups(P=2, G=2)
    params = tiny.params(model)
    take = lambda made: (made.between, made.gated, made.residual)  # noqa: E731
    _, (between, gated, residual) = jax.jit(lambda params: model.states(params, groups, take))(params)
    for stream in (between, residual):
        assert stream.dtype == jnp.float32
        rounded = np.asarray(stream.astype(jnp.bfloat16).astype(jnp.float32))
        assert np.mean(rounded != np.asarray(stream)) > 0.9
    weights = np.asarray(params["blocks"]["down"].astype(jnp.bfloat16), np.float32)
    added = np.einsum("lpgtm,lmd->lpgtd", np.asarray(gated, np.float32), weights)
    np.testing.assert_allclose(residual - between, added, atol=1e-5)


def test_means_are_over_the_width():
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    made = layer.Layer(
        query=draw(2, 3, 4, 2, 5, 6),
        keys=draw(2, 3, 4, 5, 6),
        values=draw(2, 3, 4, 5, 6),
        mixed=draw(2, 3, 4, 2, 5, 6),
        between=draw(2, 4, 5, 7),
        gated=draw(2, 4, 5, 8),
        residual=draw(2, 4, 5, 7),
    )
    found = layer.means(made)
    assert {name: len(x) for name, x in found.items()} == {"attention": 4, "mlp": 1, "stream": 2}
    assert {x.shape for x in jax.tree.leaves(found)} == {(2, 4, 5)}
    np.testing.assert_allclose(found["attention"][0], flat(made.query).mean(-1), atol=1e-6)
    np.testing.assert_allclose(found["attention"][1][1, 3, 4], made.keys[1, :, 3, 4].mean(), atol=1e-6)
    np.testing.assert_allclose(found["stream"][1], made.residual.mean(-1), atol=1e-6)
    assert layer.stream(made).dtype == made.gated.dtype
