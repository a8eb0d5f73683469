"""Distances between picked tokens against whole distributions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from factors import close, pulled, random, weights_like
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from posttrain_jax import comparison
from posttrain_jax.models import head, sharding, transport

PLACES = jnp.asarray([[0, 4], [5, 1], [2, 3], [3, 0]], jnp.int32)
PICKED = comparison.Picked("teacher", PLACES, 2.0)


def picked_probs(logits):
    """Of the eight picked tokens, over the vocabulary."""
    whole = jax.nn.softmax(logits.hidden @ logits.weight / 2).reshape(4, 6, -1)
    return jnp.take_along_axis(whole, PLACES[..., None], axis=1).reshape(8, -1)


def naive(logits, teacher):
    return jnp.abs(picked_probs(logits)[:, None] - picked_probs(teacher)[None]).sum(-1)


@pytest.mark.parametrize("shape", [{}, {"data": 2, "fsdp": 2, "tensor": 2}], ids=["one", "eight"])
def test_distances_and_their_gradient(shape):
    mesh = sharding.make_mesh(**shape)
    logits, _, fixed = random()
    layout = head.Layout(mesh, sharding.TRAINING_RULES, 4)
    pulls = weights_like(jnp.zeros((4, 2, 8)))
    rows = NamedSharding(mesh, Spec(sharding.ROWS))
    placed = comparison.Logits(jax.device_put(logits.hidden, rows), logits.weight)

    def ours(own, teacher):
        found, others = transport.costs(jax.lax.stop_gradient(own), teacher, PICKED, layout)
        asked = {"moved": comparison.Transported(PICKED, pulls, others)}
        values = transport.of_tokens(own, asked, {"teacher": teacher}, layout)
        return {"costs": found, **values}

    def expected(own, teacher):
        found = naive(own, teacher)
        moved = jnp.sum(pulls.reshape(8, 8) * found, axis=1).reshape(4, 2)
        values = jnp.zeros((4, 6)).at[jnp.arange(4)[:, None], PLACES].add(moved).reshape(4, 2, 3)
        costs = jax.lax.stop_gradient(found)
        return {"costs": costs, "moved": values}

    weights = weights_like(jax.eval_shape(expected, logits, fixed["teacher"]))
    ours, expected = (pulled(function, weights) for function in (ours, expected))
    close(ours(placed, fixed["teacher"]), expected(logits, fixed["teacher"]))


def test_no_gradient_to_the_teacher_and_none_where_all_are_equal():
    logits, _, _ = random()
    layout = head.Layout(sharding.make_mesh(), sharding.TRAINING_RULES, 4)
    find = jax.jit(functools.partial(transport.costs, picked=PICKED, layout=layout))
    same = comparison.Logits(logits.hidden[:, :1, :1] * jnp.ones((1, 2, 3, 1)), logits.weight)
    found, others = find(same, same)
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-6)
    asked = {"moved": comparison.Transported(PICKED, jnp.tile(jnp.eye(8).reshape(4, 2, 8), 1), others)}
    total = lambda own, other: transport.of_tokens(own, asked, {"teacher": other}, layout)["moved"].sum()  # noqa: E731
    own, other = jax.jit(jax.grad(total, argnums=(0, 1)))(same, same)
    for x in jax.tree.leaves((own, other)):
        np.testing.assert_allclose(x, 0, atol=1e-6)
