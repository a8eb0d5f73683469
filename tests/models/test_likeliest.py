"""The likeliest entries out of the chunked head, and divergences from stored entries, against whole distributions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from factors import close, naive, pulled, random, stats, weights_like
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as Spec

from posttrain_jax import comparison, types
from posttrain_jax.losses import generator, tail
from posttrain_jax.models import head, likeliest, sharding


def whole(logits, temperature=1.0):
    return jax.nn.log_softmax(logits.hidden @ logits.weight / temperature)


@pytest.mark.parametrize("shape", [{}, {"data": 2, "fsdp": 2, "tensor": 2}], ids=["one", "eight"])
@pytest.mark.parametrize("count", [1, 5, 26])
def test_the_likeliest_of_the_whole_distribution(shape, count):
    """26 entries are more than the 13 that each of two devices has."""
    logits = random()[0]
    layout = head.Layout(sharding.make_mesh(**shape), sharding.TRAINING_RULES, 4)
    found = jax.jit(functools.partial(likeliest.of_tokens, count=count, layout=layout, temperature=0.7))(logits)
    values, ids = jax.lax.top_k(whole(logits, 0.7), count)
    np.testing.assert_array_equal(found[0], ids)
    np.testing.assert_allclose(found[1], values, atol=1e-5)


@pytest.mark.parametrize("shape", [{}, {"data": 2, "fsdp": 2, "tensor": 2}], ids=["one", "eight"])
def test_entries_that_are_likeliest_to_one_model_under_another(shape):
    logits, _, fixed = random()
    models, size = {"policy": logits, "teacher": fixed["teacher"]}, {"count": 3, "temperature": 0.7}
    layout = head.Layout(sharding.make_mesh(**shape), sharding.TRAINING_RULES, 4)
    wanted = comparison.Likeliest("policy", "teacher", **size)
    found = jax.jit(lambda x: likeliest.looked_up(x, wanted, 26, layout))(models)
    ids = jax.lax.top_k(whole(logits, 0.7), 3)[1]
    np.testing.assert_array_equal(found[0], ids)
    expected = jnp.take_along_axis(whole(fixed["teacher"], 0.7), ids, axis=-1)
    np.testing.assert_allclose(found[1], expected, atol=1e-5)


def test_entries_behind_the_policys_vocabulary_are_left_out_and_a_smaller_one_is_refused():
    logits, layout = random(P=1)[0], head.Layout(sharding.make_mesh(), sharding.TRAINING_RULES, 4)
    wanted = comparison.Likeliest("teacher", "teacher", 5, 1.0)
    found = likeliest.looked_up({"teacher": logits}, wanted, 20, layout)
    cut = comparison.Logits(logits.hidden, logits.weight[:, :20])
    np.testing.assert_array_equal(found[0], jax.lax.top_k(whole(cut), 5)[1])
    with pytest.raises(ValueError, match="'teacher' has a vocabulary of 26 and the scored model one of 27"):
        likeliest.looked_up({"teacher": logits}, wanted, 27, layout)


def test_more_entries_than_there_are_are_refused():
    logits, layout = random()[0], head.Layout(sharding.make_mesh(), sharding.TRAINING_RULES, 4)
    for count in (0, 27):
        with pytest.raises(ValueError, match=f"count={count} entries are not to be had of 26"):
            likeliest.of_tokens(logits, count, layout)


FORMS = {
    "bucketed": tail.Bucketed(generator.ForwardKL()),
    "reverse": tail.Bucketed(generator.ReverseKL()),
    "renormalized": tail.Renormalized(generator.jensen_shannon()),
    "entries": tail.Entries(generator.ForwardKL()),
    "partial": tail.Partial(),
}


def asked(fixed, count=5, temperature=None):
    """Comparisons with the likeliest entries of the teacher, one of each token missing."""
    log_q, ids = jax.lax.top_k(whole(fixed["teacher"], temperature or 1.0), count)
    ids, log_q = ids.at[..., 2].set(-1), log_q.at[..., 2].set(-1e30)
    return {name: comparison.Stored(form, ids, log_q, temperature) for name, form in FORMS.items()}


def by_hand(logits, targets, fixed, comparisons):
    """The same from whole distributions, beside a comparison with a model that runs."""
    base = naive(logits, targets, fixed, {"ref": comparisons["ref"]})
    found = dict(base.divergences)
    for name, one in comparisons.items():
        if isinstance(one, comparison.Stored):
            log_p = jnp.take_along_axis(whole(logits, one.temperature or 1.0), jnp.maximum(one.ids, 0), axis=-1)
            found[name] = one.compare(jnp.where(one.ids < 0, -1e30, log_p), one.log_probs)
    return types.TokenStats(base.logps, base.entropy, divergences=found)


@pytest.mark.parametrize(
    ("shape", "temperature"),
    [
        pytest.param({}, None, id="one", marks=pytest.mark.slow),
        pytest.param({"data": 2, "fsdp": 2, "tensor": 2}, 2.0, id="eight"),
    ],
)
def test_stored_entries_have_the_value_and_gradient_of_the_whole_form(shape, temperature):
    logits, targets, fixed = random()
    comparisons = asked(fixed, temperature=temperature)
    comparisons["ref"] = comparison.Comparison(generator.ReverseKL(), {"ref": 1.0})
    mesh = sharding.make_mesh(**shape)
    expected = functools.partial(by_hand, comparisons=comparisons)
    weights = weights_like(jax.eval_shape(expected, logits, targets, fixed))
    ours = functools.partial(stats, comparisons=comparisons, mesh=mesh)
    placed = jax.device_put((logits.hidden, targets), NamedSharding(mesh, Spec(sharding.ROWS)))
    there = comparison.Logits(placed[0], logits.weight), placed[1], fixed
    close(pulled(ours, weights)(*there), pulled(expected, weights)(logits, targets, fixed))


def test_with_all_entries_it_is_the_divergence_from_the_model():
    logits, targets, fixed = random(V=8)
    log_q, ids = jax.lax.top_k(whole(fixed["teacher"]), 8)
    stored = comparison.Stored(FORMS["reverse"], ids[..., :7], log_q[..., :7])
    model = comparison.Comparison(generator.ReverseKL(), {"teacher": 1.0})
    found = stats(logits, targets, fixed, {"model": model, "stored": stored}).divergences
    np.testing.assert_allclose(found["stored"], found["model"], rtol=1e-4, atol=1e-6)


def test_the_worked_token_out_of_the_head():
    """T = (.5, .3, .15, .05), S = (.3, .3, .2, .2), two entries."""
    mine = comparison.Logits(jnp.ones((1, 1, 1, 1)), jnp.log(jnp.asarray([[0.3, 0.3, 0.2, 0.2]])))
    ids, log_q = jnp.asarray([0, 1])[None, None, None], jnp.log(jnp.asarray([0.5, 0.3]))[None, None, None]
    forward = generator.ForwardKL()
    forms = {
        "tail": (tail.Bucketed(forward), 0.116783),
        "renorm": (tail.Renormalized(forward), 0.031584),
        "partial": (tail.Partial(), 0.255413),
        "bregman": (tail.Entries(forward), 0.055413),
    }
    comparisons = {name: comparison.Stored(form, ids, log_q) for name, (form, _) in forms.items()}
    found = stats(mine, jnp.zeros((1, 1, 1), jnp.int32), {}, comparisons).divergences
    for name, (_, expected) in forms.items():
        np.testing.assert_allclose(found[name].item(), expected, atol=1e-6, err_msg=name)


def test_a_temperature_that_is_none_is_refused():
    with pytest.raises(ValueError, match="temperature is 0"):
        comparison.Stored(tail.Partial(), jnp.zeros((1, 1, 1, 1), jnp.int32), jnp.zeros((1, 1, 1, 1)), 0.0)
