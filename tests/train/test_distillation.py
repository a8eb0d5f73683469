"""A student comes near its teacher on its own completions, through the online loop."""

import dataclasses

import jax
import numpy as np
import pytest
import sparing

from posttrain_jax.data import batch, encode, fields, iterate, prompts
from posttrain_jax.losses import generator, tail
from posttrain_jax.models import sharding, vocabulary
from posttrain_jax.recipes.distillation import akl
from posttrain_jax.recipes.distillation.align_distil import AlignDistil
from posttrain_jax.recipes.distillation.gkd import GKD
from posttrain_jax.recipes.distillation.kdrl import KDRL
from posttrain_jax.recipes.distillation.live_top_k import LiveTopK
from posttrain_jax.recipes.distillation.minillm import MiniLLM
from posttrain_jax.recipes.distillation.on_policy import OnPolicy
from posttrain_jax.recipes.distillation.sink_kd import SinKD
from posttrain_jax.recipes.policy.rto import RTO
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import compared, metrics, offline, online, optimizer, reference, run

WORDS = vocabulary.characters("abcd=")


@pytest.fixture
def parts(tiny):
    """A student of one layer, and a teacher of another width."""
    student = tiny.bigram(data=2)
    student = dataclasses.replace(student, config=dataclasses.replace(student.config, num_layers=1))
    teacher = dataclasses.replace(student, config=dataclasses.replace(student.config, hidden_size=24))
    rows = [{"prompt": f"{a}{b}="} for a in "abcd" for b in "abcd"]
    encoded, _ = prompts.encode(rows, fields.PromptFields("prompt"), WORDS, encode.Limits(prompt=4, completion=6))
    return online.Online(
        model=student,
        recipe=MiniLLM(),
        optimizer=optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(2e-2))),
        tokenizer=WORDS,
        data=iterate.Batches(encoded, prompts.Pad([4], WORDS.pad_id), batch_size=8, seed=0),
        rewards=pool.RewardPool(combine.WeightedRewards({"any": (1.0, lambda one: 0.0)}), workers=0, timeout_s=1.0),
        sampling=sample.Sampling(max_new_tokens=6, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id),
        group_size=2,
        refuse_equal_rewards=False,
        fixed={"teacher": reference.Fixed(teacher, teacher.init(jax.random.key(1)), WORDS)},
    )


OWN = {
    "gkd": OnPolicy(GKD(generator.ReverseKL())),
    "minillm": MiniLLM(teacher_share=0.2),
    "akl": OnPolicy(akl.akl()),
    "live_top_k": OnPolicy(LiveTopK(3, tail.Bucketed(generator.ReverseKL()), "policy")),
    "sink_kd": OnPolicy(SinKD(kl_coef=1.0, sinkhorn_coef=0.1, tokens=2)),
}


@pytest.mark.parametrize("recipe", sparing.some(OWN, "live_top_k"))
def test_a_student_comes_near_its_teacher_on_its_own_completions(tmp_path, parts, recipe):
    parts = dataclasses.replace(parts, recipe=recipe)
    online.run_online(parts, run.Plan(tmp_path, steps=40), parts.model.init(jax.random.key(0)))
    values = [line["teacher_divergence"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    assert values[-1] < 0.5 * values[0]
    assert values[0] > 0.1


@pytest.mark.slow
def test_a_teacher_on_another_mesh_gives_the_same_run(tmp_path, parts):
    """MiniLLM asks it for log-probabilities in credit and compares with it in the update."""
    here, lines, start = parts.fixed["teacher"].model, {}, parts.data.state()
    there = dataclasses.replace(here, mesh=sharding.make_mesh(data=1, tensor=2, devices=jax.devices()[4:]))
    for name, model in (("here", here), ("there", there)):
        fixed = {"teacher": reference.Fixed(model, model.init(jax.random.key(1)), WORDS)}
        placed = dataclasses.replace(parts, fixed=fixed)
        parts.data.restore(start)
        online.run_online(placed, run.Plan(tmp_path / name, steps=2), parts.model.init(jax.random.key(0)))
        lines[name] = metrics.read(tmp_path / name / "metrics.jsonl")
    for mine, wanted in zip(lines["there"], lines["here"], strict=True):
        for name in ("teacher_divergence", "loss", "grad_norm", "clip_fraction"):
            np.testing.assert_allclose(mine[name], wanted[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_teacher_with_another_tokenizer_is_refused_before_anything_runs(tmp_path, parts):
    other = dataclasses.replace(parts.fixed["teacher"], tokenizer=vocabulary.characters("dcba="))
    wrong = dataclasses.replace(parts, fixed={"teacher": other})
    with pytest.raises(ValueError, match="Student and teacher have different tokenizers"):
        online.run_online(wrong, run.Plan(tmp_path / "run", steps=1), {})
    assert not (tmp_path / "run").exists()


def roles(parts, *names):
    """The teacher, and others as wide, under these roles."""
    model = parts.fixed["teacher"].model
    return {name: reference.Fixed(model, model.init(jax.random.key(i)), WORDS) for i, name in enumerate(names, 1)}


def test_a_student_comes_near_what_two_models_extrapolate_to(tmp_path, parts):
    prompt, answer = (np.asarray(WORDS.render_completion(x), np.int32) for x in ("a", "bcd="))
    rows = [encode.TokenRow(prompt, (answer,), index) for index in range(8)]
    data = iterate.Batches(rows, batch.Pad([batch.Bucket(4, 6)], WORDS.pad_id, 1), batch_size=4, seed=0)
    recipe, fixed = AlignDistil(1.0, extrapolation=0.5), roles(parts, "dpo", "reverse_dpo")
    given = offline.Offline(parts.model, recipe, parts.optimizer, data, fixed=fixed, tokenizer=WORDS)
    offline.run_offline(given, run.Plan(tmp_path, steps=40), parts.model.init(jax.random.key(0)))
    values = [line["teacher_kl"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    assert values[-1] < 0.5 * values[0]


def demonstrated(parts, recipe, folder, *, steps, micro_batches=1):
    """Numbers of a run on the same sixteen prompts and answers."""
    answers = [np.asarray(WORDS.render_completion(x), np.int32) for x in ("a", "bcd=", "ba", "dd")]
    prompt = np.asarray(WORDS.render_prompt("ab"), np.int32)
    rows = [encode.TokenRow(prompt, (answers[index % 4],), index) for index in range(16)]
    data = iterate.Batches(rows, batch.Pad([batch.Bucket(4, 6)], WORDS.pad_id, 1), batch_size=8, seed=0)
    given = offline.Offline(parts.model, recipe, parts.optimizer, data, fixed=parts.fixed, tokenizer=WORDS)
    plan = run.Plan(folder, steps=steps, micro_batches=micro_batches)
    offline.run_offline(given, plan, parts.model.init(jax.random.key(0)))
    return metrics.read(folder / "metrics.jsonl")


def test_batches_of_distributions_are_matched_in_the_loop(tmp_path, parts):
    """Whatever the micro-batches are: what couples the rows is known before they are cut."""
    recipe = SinKD(sinkhorn_coef=0.1, tokens=2)
    lines = demonstrated(parts, recipe, tmp_path / "whole", steps=40)
    assert np.mean([x["sinkhorn"] for x in lines[-5:]]) < 0.8 * np.mean([x["sinkhorn"] for x in lines[:5]])
    halves = demonstrated(parts, recipe, tmp_path / "halves", steps=2, micro_batches=2)
    for mine, wanted in zip(halves, lines[:2], strict=True):
        for name in ("loss", "sinkhorn", "teacher_divergence", "grad_norm"):
            np.testing.assert_allclose(mine[name], wanted[name], rtol=1e-4, err_msg=name)


@pytest.mark.slow
def test_tokens_are_rewarded_by_a_dpo_model(tmp_path, parts):
    recipe = RTO(dpo_coef=1.0, dpo_limit=5.0, kl_coef=0.0)
    parts = dataclasses.replace(parts, recipe=recipe, fixed=roles(parts, "dpo"), group_size=8)
    online.run_online(parts, run.Plan(tmp_path, steps=40), parts.model.init(jax.random.key(0)))
    values = [line["token_reward"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    assert np.mean(values[-3:]) > np.mean(values[:3]) + 0.1


def test_a_recipe_that_asks_without_comparing_is_given_its_teacher(parts):
    assert set(compared.of(KDRL(), parts.model, parts.fixed, WORDS).models) == {"ref", "teacher"}
    assert compared.of(KDRL(), parts.model, {}, None).models == {}
