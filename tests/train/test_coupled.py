"""Statistics of the whole batch, through credit and update: meshes and micro-batches change no loss and no gradient."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sparing

from posttrain_jax import types
from posttrain_jax.recipes.preference import aot_paired, aot_unpaired, bco, beta_dpo, kto, lcpo, trpa
from posttrain_jax.train import credit, reference, update

ROWS = 12
COLUMNS = {"desirable": np.array([1, 0, 1, 1, 0, 0] * 2, np.float32), "annotator": np.array([0, 1] * 6, np.float32)}
REWARDS = np.array([[1, 0, -1], [0, 0, 1], [1, np.nan, 0], [-1, 1, 1]] * 3, np.float32)
RECIPES = {
    "KTO z0": (kto.KTO(beta=0.5), 1),
    "BCO delta": (bco.BCO(beta=0.5), 1),
    "AOT sorted margins": (aot_paired.AOTPaired(beta=0.5), 2),
    "AOT sorted log-ratios": (aot_unpaired.AOTUnpaired(beta=0.5), 2),
    "beta-DPO": (beta_dpo.BetaDPO(scale=1.0), 2),
    "LCPO eta": (lcpo.LCPO(annotators=2), 2),
    "TRPA pairs": (trpa.TRPA(best=0.5), 3),
}
"""A recipe, and how many completions it compares in a row."""


def rows_of(tiny, size):
    """Random rows, the first of them empty, the others with tokens in every place."""
    groups = tiny.groups(tiny.bigram(), P=ROWS, G=size)
    lengths = jnp.maximum(groups.completion_lengths, 1).at[0].set(0)
    mask = jnp.arange(groups.completions.shape[2])[None, None] < lengths[..., None]
    return dataclasses.replace(groups, completion_lengths=lengths, completion_mask=mask)


def credited(tiny, recipe, size, *, data=1, rows=slice(None)):
    """A model, its parameters, rows, and their batch and memory, away from the reference."""
    model = tiny.bigram(data=data)
    pick = lambda x: jax.device_put(np.asarray(x)[rows], model.row_sharding)  # noqa: E731
    groups = jax.tree.map(pick, rows_of(tiny, size))
    params, ref = (model.init(jax.random.key(seed)) for seed in (0, 1))
    state = types.TrainState(params, (), jnp.int32(0), jax.random.key(7), credit.init_memory(recipe))
    score = reference.make_score(model)
    if isinstance(recipe, types.InformedOffline):
        given = credit.make_offline(model, recipe, score, {})
        return model, params, groups, *given(state, ref, groups, jax.tree.map(pick, COLUMNS), {})[:2]
    own = types.Rollout(groups, score(params, groups), truncated=jnp.zeros(groups.completion_lengths.shape, bool))
    given = credit.make_online(model, recipe, score, {}, temperature=1.0)
    return model, params, groups, *given(state, ref, own, pick(REWARDS), {}, {})[:2]


def step(tiny, recipe, size, *, data, micro_batches):
    """Loss, gradient and memory of an update."""
    model, params, groups, batch, memory = credited(tiny, recipe, size, data=data)
    compute = jax.jit(update.make_gradients(model, recipe, micro_batches=micro_batches))
    grads, found = compute(params, groups, batch)
    return jax.device_get((found["loss"], grads, memory))


def loss(tiny, recipe, size, rows):
    """Loss and memory of some rows alone."""
    model, params, groups, batch, memory = credited(tiny, recipe, size, rows=rows)
    return jax.device_get((recipe.loss(model.token_stats(params, groups), batch)[0], memory))


@pytest.mark.parametrize("way", sparing.some(RECIPES, "AOT sorted margins", "beta-DPO", "TRPA pairs"))
def test_meshes_and_micro_batches_change_nothing(tiny, way):
    recipe, size = way
    expected = step(tiny, recipe, size, data=1, micro_batches=1)
    assert max(np.abs(x).max() for x in jax.tree.leaves(expected[1])) > 1e-3
    got = step(tiny, recipe, size, data=2, micro_batches=2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), got, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "size"), RECIPES.values(), ids=RECIPES)
def test_halves_that_are_credited_apart_are_another_loss(tiny, recipe, size):
    """Or leave another memory: so that the test above would see a statistic of micro-batches."""
    halves = slice(0, ROWS // 2), slice(ROWS // 2, ROWS)
    whole, *apart = (loss(tiny, recipe, size, rows) for rows in (slice(None), *halves))
    counted = np.asarray(rows_of(tiny, size).completion_mask).any(-1).all(-1)
    weights = [counted[rows].sum() for rows in halves]
    moved = abs(np.average([one for one, _ in apart], weights=weights) - whole[0])
    remembered = jax.tree.map(lambda a, b: np.abs(a - b).max(), apart[0][1], whole[1])
    assert max([moved, *jax.tree.leaves(remembered)]) > 1e-3
