"""Recipes that read a divergence over the vocabulary at every token, through the chunked head: exact, and without
`[tokens, V]`."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from factors import close, naive, random, stats

from posttrain_jax import comparison, types
from posttrain_jax.recipes.distillation import align_distil
from posttrain_jax.recipes.preference import activation_mask_po, rrpo, sparse_po, tdpo1, tdpo2

RECIPES = {
    "tdpo1": tdpo1.TDPO1(beta=0.5),
    "tdpo2": tdpo2.TDPO2(beta=0.5, kl_coef=0.7),
    "sparse_po": sparse_po.SparsePO(beta=0.5, kl_sparsity=0.1),
    "activation_mask_po": activation_mask_po.ActivationMaskPO(beta=0.5),
    "rrpo": rrpo.RRPO(beta=0.5, kl_coef=0.3),
    "align_distil": align_distil.AlignDistil(extrapolation=1.0),
}
ROLES = {"dpo": "teacher", "reverse_dpo": "old", "ref": "ref"}
"""Which of the random models plays whom."""


def loss(recipe: Any, scored, logits, targets, known):
    """Credit and loss of all tokens as `scored` (the head, or the whole form) says of them; `known` by role."""
    fixed = {role: known[name] for role, name in ROLES.items()}
    mask = jnp.ones(targets.shape, bool)
    lengths, places = jnp.sum(mask, axis=-1), jnp.arange(mask.shape[2])[None, None]
    groups = types.Groups(targets[:, 0], lengths[:, 0], targets, lengths, mask, jnp.arange(len(mask)))

    def model(own):
        return lambda _, kept_ids=None, comparisons=None: scored(own, targets, fixed, comparisons or {})

    told = {role: model(own) for role, own in fixed.items()}
    units = {"stream": (jnp.broadcast_to(jnp.sin(places), mask.shape),)}
    lookup = types.Lookup(model(logits), told["ref"], jax.random.key(0), told, activations=lambda _: units)
    if isinstance(recipe, types.InformedOffline):
        columns = {"differing": jnp.broadcast_to((places % 2).astype(jnp.float32), mask.shape)}
        batch, _ = recipe.credit(groups, columns, lookup, recipe.init_memory())
    else:
        batch = recipe.credit(groups, told["ref"](groups).logps)
    batch = jax.lax.stop_gradient(batch)
    policy = scored(logits, targets, fixed, recipe.comparisons(batch))
    masks = {"reward": jnp.cos(places) ** 2 + jnp.zeros(mask.shape), "kl": jnp.sin(places) ** 2 + jnp.zeros(mask.shape)}
    return recipe.loss(dataclasses.replace(policy, masks=masks), batch)[0]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_value_and_gradient_are_those_of_whole_distributions(recipe):
    given = random(T=5)
    got, expected = (
        jax.jit(jax.value_and_grad(functools.partial(loss, recipe, scored)))(*given) for scored in (stats, naive)
    )
    assert max(np.abs(x).max() for x in jax.tree.leaves(expected[1])) > 1e-3
    close(got, expected)


def temporaries(recipe, scored, *, tokens, vocab, width=16):
    """Bytes of scratch that the compiled value and gradient need."""

    def logits():
        return jax.eval_shape(
            lambda: comparison.Logits(jnp.zeros((1, 2, tokens // 2, width)), jnp.zeros((width, vocab)))
        )

    targets = jax.ShapeDtypeStruct((1, 2, tokens // 2), jnp.int32)
    both = jax.jit(jax.value_and_grad(functools.partial(loss, recipe, scored)))
    known = {role: logits() for role in ROLES.values()}
    return both.lower(logits(), targets, known).compile().memory_analysis().temp_size_in_bytes


ALIKE = {"tdpo2", "activation_mask_po"}
"""They ask for what others ask for."""
EACH = [pytest.param(x, id=name, marks=[pytest.mark.slow] * (name in ALIKE)) for name, x in RECIPES.items()]


@pytest.mark.parametrize("recipe", EACH)
def test_what_grows_with_tokens_times_vocabulary_is_nil(recipe):
    """The mixed difference of both sizes, as in `test_comparison.py`; the whole form's is several arrays of logits."""
    few, many = 256, 2048
    chunked = functools.partial(stats, chunk=64)
    ours = {(n, v): temporaries(recipe, chunked, tokens=n, vocab=v) for n in (few, many) for v in (few, many)}
    logits = 4 * many * many
    assert temporaries(recipe, naive, tokens=many, vocab=many) >= 2 * logits
    mixed = ours[many, many] - ours[few, many] - ours[many, few] + ours[few, few]
    assert abs(mixed) < 0.01 * logits
