"""Masks of tokens in the offline loop: learned beside the policy, and of the reference's activations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sparing

from posttrain_jax.data import batch, encode, iterate
from posttrain_jax.models import token_mask
from posttrain_jax.recipes.preference import activation_mask_po, sparse_po
from posttrain_jax.train import metrics, offline, optimizer, run

MaPO = activation_mask_po.ActivationMaskPO(beta=0.5)
SPARSE = sparse_po.SparsePO(beta=0.5)


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(vocab_size=12)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def parts(model, recipe):
    """Pairs that differ in whether a 1 follows the prompt, and then go on alike."""
    ids = lambda *tokens: np.asarray(tokens, np.int32)  # noqa: E731
    rows = [encode.TokenRow(ids(3 + k, 4), (ids(1, 5 + k % 3, 2), ids(6, 5 + k % 3, 7, 2)), index=k) for k in range(8)]
    return offline.Offline(
        model=model,
        recipe=recipe,
        optimizer=optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(2e-2))),
        data=iterate.Batches(rows, batch.Pad([batch.Bucket(2, 4)], 0, group_size=2), batch_size=4, seed=0),
    )


def ways(model, start):
    masked = token_mask.Masked(model)
    return {
        "learned": (parts(masked, SPARSE), masked.from_language_model(start)),
        "of activations": (parts(model, MaPO), start),
    }


@pytest.mark.parametrize("name", sparing.names(["learned", "of activations"], "learned"))
def test_a_resumed_run_is_the_same_bit_for_bit_and_learns(tmp_path, model, start, name):
    setup, params = ways(model, start)[name]
    whole = offline.run_offline(setup, run.Plan(tmp_path / "whole", steps=12, save_every=6), params)
    for steps in (6, 12):
        setup, params = ways(model, start)[name]
        again = offline.run_offline(setup, run.Plan(tmp_path / "parts", steps=steps, save_every=6), params)
    jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    jax.tree.map(np.testing.assert_array_equal, again.opt_state, whole.opt_state)
    lines = metrics.read(tmp_path / "whole" / "metrics.jsonl")
    assert lines[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert lines[-1]["loss"] < 0.55
    assert 0 < lines[-1]["reward_mask"] != pytest.approx(1, abs=1e-3)


def test_a_penalty_empties_the_masks_it_is_on(tmp_path, model, start):
    masked = token_mask.Masked(model)
    recipe = dataclasses.replace(SPARSE, kl_sparsity=1.0)
    state = offline.run_offline(parts(masked, recipe), run.Plan(tmp_path, steps=40), masked.from_language_model(start))
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert lines[0]["kl_mask"] == pytest.approx(1, abs=1e-4)
    assert lines[-1]["kl_mask"] < 0.1 < lines[-1]["reward_mask"]
    changed = jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), masked.policy(state.params), start)
    assert min(jax.tree.leaves(changed)) > 1e-3


def test_a_policy_without_masks_is_refused(tmp_path, model, start):
    with pytest.raises(ValueError, match=r"train a models\.token_mask\.Masked"):
        offline.run_offline(parts(model, SPARSE), run.Plan(tmp_path, steps=1), start)
