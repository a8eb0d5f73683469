"""SinKD by the worked numbers, by what it is without its parts, and against the distance of whole distributions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from whole_vocabulary import groups

from posttrain_jax import types
from posttrain_jax.losses import divergence, generator, sinkhorn
from posttrain_jax.recipes.distillation.sink_kd import SinKD

STUDENT = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3]]))[:, None, None]
TEACHER = jnp.log(jnp.array([[0.6, 0.3, 0.1], [0.1, 0.6, 0.3]]))[:, None, None]
ONLY = {"kl_coef": 0.0, "temperature": 1.0}


def at(logits, places, temperature):
    """Probabilities of picked tokens, [N, V]."""
    flat = jax.nn.softmax(logits / temperature).reshape(len(places), -1, logits.shape[-1])
    return jnp.take_along_axis(flat, places[..., None], axis=1).reshape(-1, logits.shape[-1])


def lookup(student, teacher):
    """The costs of whole distributions; a token's `hidden state` is its number in the batch."""

    def costs(given, picked):
        assert picked.role == "teacher"
        p, q = (at(x, picked.places, picked.temperature) for x in (student, teacher))
        others = jnp.broadcast_to(jnp.arange(len(q), dtype=jnp.float32)[None, :, None], (len(picked.places), len(q), 1))
        return jnp.abs(p[:, None] - q[None]).sum(-1), others

    said = lambda *_: types.TokenStats(jnp.zeros(()), jnp.zeros(()))  # noqa: E731
    return types.Lookup(said, said, jax.random.key(0), {"teacher": said}, costs=costs)


def stats(recipe, batch, student, teacher, mask):
    """What the model computes of a batch."""
    asked = recipe.comparisons(batch)["sinkhorn"]
    places = asked.picked.places
    p, q = (at(x, places, asked.picked.temperature) for x in (student, jax.lax.stop_gradient(teacher)))
    moved = jnp.sum(asked.pulls.reshape(len(p), -1) * jnp.abs(p[:, None] - q[None]).sum(-1), axis=1)
    flat = jnp.zeros((len(places), mask[0].size)).at[jnp.arange(len(places))[:, None], places]
    found = flat.add(moved.reshape(places.shape)).reshape(mask.shape)
    log_p, log_q = jax.nn.log_softmax(student), jax.nn.log_softmax(teacher)
    kl = divergence.exact(generator.ForwardKL(), log_p, log_q)
    both = {"teacher": jnp.where(mask, kl, 0), "sinkhorn": jnp.where(mask, found, 0)}
    return types.TokenStats(jnp.where(mask, log_p[..., 0], 0), jnp.zeros(mask.shape), divergences=both)


@functools.partial(jax.jit, static_argnums=0)
def step(recipe, student, teacher, mask):
    batch, memory = recipe.credit(groups(mask), {}, lookup(student, teacher), recipe.init_memory())
    assert memory == ()

    def loss(x):
        return recipe.loss(stats(recipe, batch, x, teacher, mask), batch)

    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(student)
    return value, gradient, metrics, batch


@pytest.mark.parametrize(("eps", "expected"), [(0.1, 0.401405), (1.0, 0.896041)])
def test_worked_numbers(eps, expected):
    mask = jnp.ones((2, 1, 1), bool)
    metrics = step(SinKD(eps=eps, **ONLY), STUDENT, TEACHER, mask)[2]
    np.testing.assert_allclose(metrics["sinkhorn"].sum(), expected, atol=1e-6)
    swapped = step(SinKD(eps=eps, **ONLY), STUDENT, TEACHER[::-1], mask)[2]
    np.testing.assert_allclose(swapped["sinkhorn"].sum(), expected, atol=1e-6)


def test_value_and_gradient_are_those_of_the_distance_of_the_whole_batch():
    """Through all iterations, though rows only add: likelihood, KL and distance of 2 tokens of each of 3 rows."""
    student, teacher = 2 * jax.random.normal(jax.random.key(1), (2, 3, 2, 3, 5))
    mask = jnp.ones((3, 2, 3), bool).at[1].set(False).at[1, 0, 0].set(True)
    recipe = SinKD(sinkhorn_coef=0.5, eps=0.3, tokens=2)
    value, gradient, _, batch = step(recipe, student, teacher, mask)
    keep = np.array([True, True, True, False, True, True])  # the second row has one token only
    assert (np.asarray(batch.extra["pulls"]).reshape(6, 6)[~keep] == 0).all()

    def whole(student):
        p, q = (at(x, batch.extra["places"], 2.0)[keep] for x in (student, teacher))
        moved = sinkhorn.distance(jnp.log(p), jnp.log(q), eps=0.3)
        log_p, log_q = jax.nn.log_softmax(student), jax.nn.log_softmax(teacher)
        kl = jnp.sum(jnp.exp(log_q) * (log_q - log_p), axis=-1)
        return jnp.sum(batch.token_weights * (0.1 * kl - log_p[..., 0])) + 0.5 * moved

    expected = jax.jit(jax.value_and_grad(whole))(student)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-6)


def test_one_token_is_the_l1_distance():
    metrics = step(SinKD(**ONLY), STUDENT[:1], TEACHER[:1], jnp.ones((1, 1, 1), bool))[2]
    np.testing.assert_allclose(metrics["sinkhorn"], [0.2], atol=1e-6)


def test_picks_are_counted_tokens_and_hang_on_the_row_alone():
    mask = jnp.arange(6).reshape(1, 1, 6) < jnp.array([6, 1, 0])[:, None, None]
    ids, key = jnp.array([4, 7, -1]), jax.random.key(3)
    places, counted = sinkhorn.pick(key, mask, ids, 3)
    np.testing.assert_array_equal(counted.sum(1), [3, 1, 0])
    assert len(set(np.asarray(places[0]).tolist())) == 3
    assert places[1, 0] == 0
    alone, _ = sinkhorn.pick(key, mask[:1], ids[:1], 3)
    np.testing.assert_array_equal(places[0], alone[0])
    drawn = {int(sinkhorn.pick(jax.random.key(i), mask[:1], ids[:1], 1)[0][0, 0]) for i in range(40)}
    assert drawn == set(range(6))


def test_a_missing_teacher_is_named():
    nothing = types.Lookup(lambda *_: None, lambda *_: None, jax.random.key(0))
    with pytest.raises(ValueError, match="SinKD asks the model 'teacher'"):
        SinKD().credit(groups(jnp.ones((1, 1, 1), bool)), {}, nothing, ())
