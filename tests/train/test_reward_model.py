"""Reward models in the offline loop."""

import math

import jax
import numpy as np
import pytest

from posttrain_jax.data import batch, encode, fields, iterate, preferences
from posttrain_jax.models import lora, scalar_model, vocabulary
from posttrain_jax.recipes.preference import dpo
from posttrain_jax.recipes.reward_model import bradley_terry
from posttrain_jax.train import metrics, offline, optimizer, run

WORDS = vocabulary.characters("abcd=")
ROWS = [{"prompt": f"{a}=", "chosen": a + a, "rejected": b + b} for a in "abcd" for b in "abcd" if a != b]


@pytest.fixture(scope="module")
def model(tiny):
    return scalar_model.ScalarModel(tiny.model(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2))


def parts(model, recipe):
    rows, _ = preferences.encode(ROWS, fields.PreferenceFields(), WORDS, encode.Limits(prompt=4, completion=6))
    return offline.Offline(
        model=model,
        recipe=recipe,
        optimizer=optimizer.make_optimizer(optimizer.AdamW(optimizer.Cosine(1e-2, total_steps=40))),
        data=iterate.Batches(rows, batch.Pad([batch.Bucket(4, 6)], WORDS.pad_id, group_size=2), batch_size=8, seed=0),
    )


def test_a_reward_model_learns_what_is_preferred(tmp_path, model):
    start, recipe = model.init(jax.random.key(0)), bradley_terry.BradleyTerry(centre_coef=0.01)
    offline.run_offline(parts(model, recipe), run.Plan(tmp_path, steps=24), start)
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)  # the head begins at 0
    assert lines[0]["accuracy"] == 0.5
    assert np.mean([line["accuracy"] for line in lines[-3:]]) > 0.9
    assert lines[-1]["loss"] < 0.4


def test_beside_adapters_the_head_learns_too(tmp_path, tiny):
    trunk = tiny.model(vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)
    model = scalar_model.ScalarModel(type(trunk)(trunk.config, trunk.compute, trunk.mesh, lora=lora.Lora(rank=2)))
    recipe = bradley_terry.BradleyTerry()
    state = offline.run_offline(parts(model, recipe), run.Plan(tmp_path, steps=4), model.init(jax.random.key(0)))
    assert set(state.params) == {lora.ADAPTERS, "score"}
    assert state.params["score"].any()


def test_a_recipe_of_words_has_nothing_to_read(tmp_path, model):
    with pytest.raises(ValueError, match="DPO trains a model of words, and this one is a ScalarModel"):
        offline.run_offline(parts(model, dpo.DPO()), run.Plan(tmp_path, steps=1), model.init(jax.random.key(0)))
