import dataclasses
import math

import jax
import numpy as np
import pytest

from posttrain_jax.data import batch, demonstrations, encode, fields, iterate, preferences
from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.likelihood import fenchel_sft, sft
from posttrain_jax.recipes.preference import dpo
from posttrain_jax.train import metrics, offline, optimizer, reference, run

WORDS = vocabulary.characters("abcd=")
LIMITS = encode.Limits(prompt=4, completion=6)


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def parts(model, recipe, rows, group_size):
    pad = batch.Pad([batch.Bucket(4, 6)], WORDS.pad_id, group_size)
    return offline.Offline(
        model=model,
        recipe=recipe,
        optimizer=optimizer.make_optimizer(optimizer.AdamW(optimizer.Cosine(1e-2, total_steps=20))),
        data=iterate.Batches(rows, pad, batch_size=8, seed=0),
    )


def demonstrated(model):
    rows = [{"prompt": f"{a}{b}=", "completion": b + a} for a in "abcd" for b in "abcd"]
    read = fields.DemonstrationFields(fields.PromptFields("prompt"), "completion")
    return parts(model, sft.SFT(), demonstrations.encode(rows, read, WORDS, LIMITS)[0], 1)


def preferred(model):
    rows = [{"prompt": f"{a}=", "chosen": a + a, "rejected": "b"} for a in "acd" for _ in range(4)]
    read = fields.PreferenceFields(fields.PromptFields("prompt"), "chosen", "rejected")
    return parts(model, dpo.DPO(beta=0.5), preferences.encode(rows, read, WORDS, LIMITS)[0], 2)


def leaves(state):
    return [np.asarray(x) for x in jax.tree.leaves((state.params, state.opt_state, state.step))]


def test_sft_lowers_the_loss_and_resumes_bit_for_bit(tmp_path, model, start):
    plan = run.Plan(tmp_path / "whole", steps=12, save_every=5)
    whole = offline.run_offline(demonstrated(model), plan, start)
    lines = metrics.read(tmp_path / "whole" / "metrics.jsonl")
    assert lines[-1]["nll"] < lines[0]["nll"] - 0.3
    assert lines[0]["nll"] == pytest.approx(lines[0]["loss"], rel=1e-5)
    assert lines[0]["tokens"] == 8 * 3  # two letters and the end
    short = dataclasses.replace(plan, folder=tmp_path / "parts", steps=7)
    offline.run_offline(demonstrated(model), short, start)
    again = offline.run_offline(demonstrated(model), dataclasses.replace(short, steps=12), start)
    for x, y in zip(leaves(whole), leaves(again), strict=True):
        np.testing.assert_array_equal(x, y)


def test_before_the_first_update_reference_and_policy_are_scored_once(tmp_path, model, start, stages):
    """What the credit was given of the reference is what the check compares the policy with."""
    offline.run_offline(preferred(model), run.Plan(tmp_path, steps=2), start)
    assert stages == ["the reference's pass"] * 2 + ["the update"] + ["the reference's pass", "the update"]


def test_the_record_of_a_finished_run_stays_as_it_is(tmp_path, model, start):
    plan = run.Plan(tmp_path, steps=2)
    offline.run_offline(demonstrated(model), plan, start)
    record = (tmp_path / "run.json").read_text()
    offline.run_offline(demonstrated(model), dataclasses.replace(plan, steps=1), start)
    assert (tmp_path / "run.json").read_text() == record


def test_dpo_begins_at_ln_2_and_widens_the_margin(tmp_path, model, start):
    offline.run_offline(preferred(model), run.Plan(tmp_path, steps=6), start)
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert lines[0]["margin"] == pytest.approx(0, abs=1e-6)
    assert lines[-1]["margin"] > 0.05
    assert lines[-1]["accuracy"] > 0.7


def test_another_reference_than_the_start_may_be_given(tmp_path, model, start):
    offline.run_offline(preferred(model), run.Plan(tmp_path, steps=1), start, ref_params=model.init(jax.random.key(1)))
    assert abs(metrics.read(tmp_path / "metrics.jsonl")[0]["loss"] - math.log(2)) > 1e-4


def test_a_folder_goes_on_with_the_method_it_began_with(tmp_path, model, start):
    plan, first = run.Plan(tmp_path, steps=1), preferred(model)
    offline.run_offline(first, plan, start)
    other = dataclasses.replace(preferred(model), recipe=dpo.DPO(beta=0.1))
    with pytest.raises(ValueError, match=r"holds a run with objective DPO\(.*beta=0.5.* this one has DPO\(.*beta=0.1"):
        offline.run_offline(other, plan, start)
    assert "beta=0.5" in (tmp_path / "run.json").read_text()


def test_a_stage_whose_reference_is_the_last_model_starts_at_ln_2(tmp_path, model, start):
    state = start
    for stage in ("easy", "hard"):
        parts = preferred(model)
        state = offline.run_offline(parts, run.Plan(tmp_path / stage, steps=3), state).params
        lines = metrics.read(tmp_path / stage / "metrics.jsonl")
        assert lines[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
        assert lines[-1]["loss"] < math.log(2) - 1e-3


def test_right_after_a_refresh_of_the_reference_the_loss_is_ln_2(tmp_path, model, start):
    parts = dataclasses.replace(preferred(model), moving=reference.Moving(1.0, every=2))
    offline.run_offline(parts, run.Plan(tmp_path, steps=4), start)
    losses = [line["loss"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    np.testing.assert_allclose(losses[::2], math.log(2), atol=1e-6)
    assert max(losses[1::2]) < math.log(2) - 1e-3


def test_completions_are_imitated_as_they_are_scored(tmp_path, tiny, model, start):
    """The better one of a prompt takes nearly all weight (dual RL); what it loses to has none."""
    rows = [{"prompt": f"{a}=", "chosen": "cb", "rejected": "ba", "high": 1.0, "low": 0.0} for a in "acd" * 3]
    read = fields.PreferenceFields(scores=("high", "low"))
    own = parts(model, fenchel_sft.FenchelSFT(0.1), preferences.encode(rows, read, WORDS, LIMITS)[0], 2)
    groups = iterate.ahead(own.data).to_device(lambda x: tiny.rows(model, x))
    said = lambda params: np.asarray(model.token_stats(params, groups).logps).sum(axis=(0, 2))  # noqa: E731
    state = offline.run_offline(own, run.Plan(tmp_path, steps=8), start)
    better, worse = said(state.params) - said(start)
    assert better > 1 > worse
    assert metrics.read(tmp_path / "metrics.jsonl")[0]["weight"] == pytest.approx(1, abs=1e-4)
