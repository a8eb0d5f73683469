"""Distillation from stored entries, by hand and as distillation from the whole teacher."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from whole_vocabulary import groups

from posttrain_jax import comparison, types
from posttrain_jax.losses import generator, tail, weight
from posttrain_jax.recipes.distillation.gkd import GKD
from posttrain_jax.recipes.distillation.top_k import TopK

MASK = jnp.array([[[True, True, False]], [[True, True, True]]])
LOOKUP = types.Lookup(lambda *_: None, lambda *_: None, jax.random.key(0))


def columns(teacher, count, temperature=1.0, width=4):
    """The teacher's likeliest entries of logits [P, G, T, V], in columns that are wider than the batch."""
    log_probs, ids = jax.lax.top_k(jax.nn.log_softmax(teacher / temperature), count)
    room = [(0, 0), (0, 0), (0, width - teacher.shape[2]), (0, 0)]
    pad = lambda x, filler: jnp.pad(x.astype(jnp.float32), room, constant_values=filler)  # noqa: E731
    return {"teacher_ids": pad(ids, -1.0), "teacher_log_probs": pad(log_probs, -1e30)}


def stats(recipe, batch, student):
    """As the head computes them, from whole distributions."""
    (asked,) = recipe.comparisons(batch).values()
    assert isinstance(asked, comparison.Stored)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(student / asked.temperature), jnp.maximum(asked.ids, 0), axis=-1)
    found = asked.compare(jnp.where(asked.ids < 0, -1e30, log_p), asked.log_probs)
    nothing = jnp.zeros(MASK.shape)
    return types.TokenStats(nothing, nothing, divergences={"teacher": jnp.where(MASK, found, 0)})


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def differentiate(recipe, student, teacher, count, temperature=1.0):
    batch, memory = recipe.credit(groups(MASK), columns(teacher, count, temperature), LOOKUP, recipe.init_memory())
    assert memory == ()
    return jax.value_and_grad(lambda x: recipe.loss(stats(recipe, batch, x), batch)[0])(student)


def test_one_token_by_hand():
    """Two of four entries: .116783 with the bucket, and the gradient takes both others as one."""
    teacher, student = (jnp.log(jnp.array(x)) for x in ([0.5, 0.3, 0.15, 0.05], [0.3, 0.3, 0.2, 0.2]))
    spread = lambda x: jnp.broadcast_to(x, (*MASK.shape, 4))  # noqa: E731
    value, gradient = differentiate(TopK(), spread(student), spread(teacher), 2)
    np.testing.assert_allclose(value, 0.116783, atol=1e-6)
    weights = jnp.where(MASK, jnp.array([[[1 / 4]], [[1 / 6]]]), 0)
    pull = jnp.array([0.3 - 0.5, 0.3 - 0.3, 0.2 - 0.1, 0.2 - 0.1])
    np.testing.assert_allclose(gradient, weights[..., None] * pull[None, None, None], atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_with_all_entries_but_one_it_is_distillation_from_the_whole_teacher(temperature):
    student, teacher = jax.random.normal(jax.random.key(0), (2, *MASK.shape, 5))
    of = generator.ReverseKL()
    got = differentiate(TopK(tail.Bucketed(of), weight.token_mean, temperature), student, teacher, 4, temperature)
    recipe = GKD(of, weight.token_mean, temperature)
    batch = recipe.credit(groups(MASK))

    def whole(student):
        p, q = (jax.nn.log_softmax(x / temperature) for x in (student, teacher))
        return jnp.sum(batch.token_weights * jnp.sum(jnp.exp(p) * (p - q), axis=-1))

    for mine, expected in zip(got, jax.jit(jax.value_and_grad(whole))(student), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-6)


def test_a_student_that_is_the_teacher_rests():
    teacher = jax.random.normal(jax.random.key(1), (*MASK.shape, 5))
    for form in (tail.Bucketed(generator.ForwardKL()), tail.Entries(generator.jensen_shannon())):
        value, gradient = differentiate(TopK(form), teacher, teacher, 2)
        np.testing.assert_allclose(value, 0, atol=1e-6)
        np.testing.assert_allclose(gradient, 0, atol=1e-6)
    surer = differentiate(TopK(tail.Partial()), teacher, teacher, 2)[1]
    log_q, ids = jax.lax.top_k(jax.nn.log_softmax(teacher), 2)
    kept = jnp.sum(jax.nn.one_hot(ids, 5), axis=3) > 0
    assert (surer[MASK & (jnp.exp(log_q).sum(-1) < 0.999)][~kept[MASK]] >= 0).all()


def test_what_the_data_lack_is_named():
    batch = groups(MASK)
    with pytest.raises(ValueError, match="TopK reads the column 'teacher_ids' of the data, which have none"):
        TopK().credit(batch, {}, LOOKUP, ())
    narrow = columns(jnp.zeros((*MASK.shape, 5)), 2, width=3)
    with pytest.raises(ValueError, match="TopK wants entries of every token in 'teacher_ids'"):
        TopK().credit(batch, {name: x[:, :, :2] for name, x in narrow.items()}, LOOKUP, ())
