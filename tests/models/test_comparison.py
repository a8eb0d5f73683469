"""Divergences out of the chunked head, against those of all log-probabilities."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sparing
from factors import close, naive, pulled, random, stats, weights_like
from jax.sharding import NamedSharding

from posttrain_jax import comparison
from posttrain_jax.losses import adaptive, divergence, generator, power, skew, variation
from posttrain_jax.models import sharding

EVERY = {
    "reverse": generator.ReverseKL(),
    "forward": generator.ForwardKL(),
    "js": generator.jensen_shannon(),
    "gjs": generator.GeneralizedJS(0.2),
    "skewed": skew.SkewedKL(0.1),
    "skewed_reverse": skew.SkewedReverseKL(0.1),
    "alpha": power.Alpha(0.3),
    "beyond": power.Alpha(1.5),
    "chi2": power.ChiSquared(),
    "neyman": power.Neyman(),
    "hellinger": power.SquaredHellinger(),
    "variation": variation.TotalVariation(),
    "chi2kl": power.ChiSquaredKL(),
    "teacher_first": generator.Reversed(skew.SkewedKL(0.1)),
    "adaptive": adaptive.AKL(0.4),
}


def check(comparisons, *, mesh=None, chunk=4, kept_ids=None, temperature=1.0):
    logits, targets, fixed = random()
    options = {"temperature": temperature, "kept_ids": kept_ids}
    expected = functools.partial(naive, comparisons=comparisons, **options)
    weights = weights_like(jax.eval_shape(expected, logits, targets, fixed))
    ours = functools.partial(stats, comparisons=comparisons, mesh=mesh, chunk=chunk, **options)
    placed = (logits, targets, fixed)
    if mesh is not None:
        rows = NamedSharding(mesh, jax.sharding.PartitionSpec(sharding.ROWS))
        put = functools.partial(jax.device_put, device=rows)
        cut = {role: dataclasses.replace(x, hidden=put(x.hidden)) for role, x in fixed.items()}
        placed = (dataclasses.replace(logits, hidden=put(logits.hidden)), put(targets), cut)
    close(pulled(ours, weights)(*placed), pulled(expected, weights)(logits, targets, fixed))


def test_every_divergence_has_the_value_and_gradient_of_the_whole_form():
    check({name: comparison.Comparison(x, {"ref": 1.0}) for name, x in EVERY.items()}, chunk=7)


MIXED = {
    "ref": comparison.Comparison(generator.ForwardKL(), {"ref": 1.0}),
    "old": comparison.Comparison(generator.ReverseKL(), {"old": 1.0}),
    "teacher": comparison.Comparison(generator.jensen_shannon(), {"teacher": 1.0}, temperature=2.0),
    "mixture": comparison.Comparison(generator.ReverseKL(), {"ref": 0.3, "teacher": 0.7}),
    "adaptive": comparison.Comparison(adaptive.AKL(), {"teacher": 1.0}, temperature=1.5),
}


@pytest.mark.parametrize("shape", sparing.some({"one": {}, "eight": {"data": 2, "fsdp": 2, "tensor": 2}}, "eight"))
def test_several_models_temperatures_and_kept_ids_in_one_pass(shape):
    rng = np.random.default_rng(2)
    targets = random()[1]
    kept = jnp.asarray(np.where(rng.random((4, 2, 3, 5)) < 0.2, -1, rng.integers(0, 26, (4, 2, 3, 5))), jnp.int32)
    kept = jnp.concatenate([targets[..., None], kept], axis=-1)
    check(MIXED, mesh=sharding.make_mesh(**shape), kept_ids=kept, temperature=0.7)


def test_an_extrapolation_has_a_coefficient_for_each_token():
    """As the teacher of AlignDistil has: logits z + a (z - z'), a differing by token."""
    a = jnp.asarray(np.random.default_rng(3).uniform(0, 1, (4, 2, 3)), jnp.float32)
    check({"teacher": comparison.Comparison(generator.ReverseKL(), {"ref": 1 + a, "old": -a})})


def test_by_hand():
    """p = (.6, .3, .1) and q = (.2, .3, .5): KL(p || q) .498224, KL(q || p) .584996, JS .125101."""
    logits, fixed = (
        comparison.Logits(jnp.ones((1, 1, 1, 1)), jnp.log(jnp.asarray([x]))) for x in ([0.6, 0.3, 0.1], [0.2, 0.3, 0.5])
    )
    comparisons = {name: comparison.Comparison(EVERY[name], {"ref": 1.0}) for name in ("reverse", "forward", "js")}
    compared = jax.jit(functools.partial(stats, comparisons=comparisons))
    found = compared(logits, jnp.zeros((1, 1, 1), jnp.int32), {"ref": fixed}).divergences
    np.testing.assert_allclose([found[name].item() for name in comparisons], [0.498224, 0.584996, 0.125101], atol=1e-6)


def test_equal_models_are_0_apart_and_nearly_equal_ones_never_less():
    """Signed sums p (log p - log q) of float32 log-probabilities are off by their normalisers' rounding, ~1e-6."""
    logits, targets, fixed = random(V=4096)
    comparisons = {name: comparison.Comparison(x, {"ref": 1.0}) for name, x in EVERY.items()}
    compared = jax.jit(functools.partial(stats, comparisons=comparisons, chunk=64))
    for name, value in compared(logits, targets, {"ref": logits}).divergences.items():
        # total variation grows with the first power of the rounding, the others with the second
        np.testing.assert_allclose(value, 0, atol=1e-8 if name == "variation" else 1e-12, err_msg=name)
    near = comparison.Logits(logits.hidden, logits.weight + 1e-4 * jnp.sign(fixed["ref"].weight))
    found = compared(logits, targets, {"ref": near}).divergences
    for name in ("reverse", "forward"):
        with jax.enable_x64(True):
            products = [np.float64(x.hidden) @ np.float64(x.weight) for x in (logits, near)]
            whole = jax.jit(lambda p, q, f=EVERY[name]: divergence.exact(f, *map(jax.nn.log_softmax, (p, q))))
            exact = np.asarray(whole(*products))
        assert exact.dtype == np.float64
        assert (np.asarray(found[name]) > 0).all()
        np.testing.assert_allclose(found[name], exact, rtol=0.02)


def test_far_models_stay_finite_in_value_and_gradient():
    logits, fixed = (comparison.Logits(jnp.full((1, 1, 2, 1), x), jnp.asarray([[1.0, -1.0, 0.0]])) for x in (1e3, -1e3))
    targets = jnp.asarray([[[0, 1]]], jnp.int32)
    comparisons = {name: comparison.Comparison(x, {"ref": 1.0}) for name, x in EVERY.items()}
    ours = functools.partial(stats, comparisons=comparisons)
    weights = jax.tree.map(jnp.ones_like, jax.eval_shape(ours, logits, targets, {"ref": fixed}))
    values, gradient = pulled(ours, weights)(logits, targets, {"ref": fixed})
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((values, gradient)))
    np.testing.assert_allclose(values.divergences["reverse"], 2000)
    np.testing.assert_allclose(values.divergences["js"], np.log(2), rtol=1e-6)


def test_fixed_models_have_no_gradient():
    logits, targets, fixed = random(P=1)
    asked = {"kl": comparison.Comparison(generator.ReverseKL(), {"ref": 1.0})}
    gradient = jax.jit(jax.grad(lambda x: stats(logits, targets, x, asked).divergences["kl"].sum()))(fixed)
    assert not any(np.asarray(x).any() for x in jax.tree.leaves(gradient))


def test_unknown_models_and_other_vocabularies_are_refused():
    logits, targets, fixed = random(P=1)
    asked = {"kl": comparison.Comparison(generator.ReverseKL(), {"judge": 1.0})}
    with pytest.raises(ValueError, match="names the model 'judge' and there is \\['old', 'ref', 'teacher'\\]"):
        stats(logits, targets, fixed, asked)
    with pytest.raises(ValueError, match="'judge' has a vocabulary of 25 and the scored model one of 26"):
        stats(logits, targets, {"judge": random(P=1, V=25)[0]}, asked)


def test_entries_behind_those_of_the_scored_model_are_left_out():
    """As the larger models of a family have, that pad one vocabulary to another multiple."""
    logits, targets, _ = random(P=1)
    larger = random(P=1, V=30, seed=1)[0]
    asked = {"kl": comparison.Comparison(generator.ReverseKL(), {"judge": 1.0})}
    cut = comparison.Logits(larger.hidden, larger.weight[:, :26])
    found, expected = (stats(logits, targets, {"judge": x}, asked).divergences["kl"] for x in (larger, cut))
    np.testing.assert_array_equal(found, expected)


def temporaries(function, *, tokens, vocab, width=16):
    """Bytes of scratch that the compiled value and gradient need."""

    def logits():
        return jax.eval_shape(lambda: comparison.Logits(jnp.zeros((1, 1, tokens, width)), jnp.zeros((width, vocab))))

    def loss(logits, targets, ref):
        found = function(logits, targets, {"ref": ref})
        return jnp.sum(found.logps) + sum(jnp.sum(x * x) for x in found.divergences.values())

    targets = jax.ShapeDtypeStruct((1, 1, tokens), jnp.int32)
    compiled = jax.jit(jax.value_and_grad(loss)).lower(logits(), targets, logits()).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_temporaries_do_not_grow_with_vocabulary_times_tokens():
    """As in `test_head.py`: the mixed difference, which holds what grows with the product of the two, is nil.

    Also of one that looks for the head of every token. Measured in MiB (two divergences, width 16, chunks of 64):
    1.2 at 512 tokens x 512 ids, 1.5 at 4096 x 512, 9.6 at 512 x 4096, 9.7 at 4096 x 4096, where the form over the whole
    vocabulary takes 1152.
    """
    comparisons = {name: comparison.Comparison(EVERY[name], {"ref": 1.0}) for name in ("reverse", "adaptive")}
    chunked, whole = (functools.partial(f, comparisons=comparisons) for f in (stats, naive))
    chunked = functools.partial(chunked, chunk=64)
    few, many = 512, 4096
    ours = {(n, v): temporaries(chunked, tokens=n, vocab=v) for n in (few, many) for v in (few, many)}
    full = temporaries(whole, tokens=many, vocab=many)
    logits = 4 * many * many
    assert full >= 2 * logits
    mixed = ours[many, many] - ours[few, many] - ours[many, few] + ours[few, few]
    assert abs(mixed) < 0.01 * logits
    assert ours[many, many] < 0.1 * full
