"""A teacher's likeliest entries, stored and learned from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.data import batch, encode, entries, fields, iterate, prompts
from posttrain_jax.losses import generator, tail
from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.distillation.gkd import GKD
from posttrain_jax.recipes.distillation.top_k import TopK
from posttrain_jax.recipes.likelihood import sft
from posttrain_jax.rollout import sample
from posttrain_jax.train import metrics, offline, optimizer, reference, run, teacher

WORDS = vocabulary.characters("abcde")
PAD = batch.Pad([batch.Bucket(3, 4), batch.Bucket(3, 6)], WORDS.pad_id, 2)
ROWS = [
    encode.TokenRow(np.array([1, 3 + i], np.int32), (np.array([4, 5, i, 2], np.int32), np.array([6] * i, np.int32)), i)
    for i in range(1, 6)
]


@pytest.fixture(scope="module")
def told(tiny):
    """The teacher, on two devices."""
    model = tiny.bigram(data=2, vocab_size=8)
    return reference.Fixed(model, model.init(jax.random.key(1)), WORDS)


@pytest.fixture(scope="module")
def folder(told, tmp_path_factory):
    """All eight entries of it, at temperature 2."""
    path = tmp_path_factory.mktemp("teacher")
    teacher.store(told, WORDS, ROWS, PAD, path, count=8, batch_size=2, temperature=2.0)
    return path


def test_every_token_has_the_entries_of_its_own_distribution(told, folder):
    stored = entries.read(folder, ROWS, width=6, vocab_size=8)
    assert len(stored) == 5
    for row, given in zip(stored, ROWS, strict=True):
        groups = PAD([given], slice(0, 1)).to_device(jnp.asarray)
        logits = told.model.logits(told.params, groups)
        log_probs = jax.nn.log_softmax(logits.hidden @ logits.weight / 2)[0]
        for member, ids in enumerate(given.completions):
            found = (row.columns[name][member] for name in (entries.IDS, entries.LOG_PROBS))
            kept, values = (x[: len(ids)] for x in found)
            np.testing.assert_array_equal(np.sort(kept, axis=-1), np.tile(np.arange(8), (len(ids), 1)))
            assert (np.diff(values, axis=-1) <= 0).all()
            expected = np.take_along_axis(np.asarray(log_probs[member, : len(ids)]), kept.astype(int), axis=-1)
            np.testing.assert_allclose(values, expected, atol=1e-5)
            assert (row.columns[entries.IDS][member, len(ids) :] == -1).all()


def learned(tmp_path, model, recipe, data, **given):
    parts = offline.Offline(
        model, recipe, optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-2))), data, **given
    )
    offline.run_offline(parts, run.Plan(tmp_path, steps=3), model.init(jax.random.key(0)))
    return metrics.read(tmp_path / "metrics.jsonl")


def test_with_all_entries_stored_a_run_is_that_with_the_teacher(told, folder, tmp_path):
    """One run has the teacher beside it, the other its entries; the student lies on two devices, and buckets differ."""
    lines, of = {}, generator.ReverseKL()
    stored = entries.read(folder, ROWS, width=6, vocab_size=8)
    live = {"fixed": {"teacher": told}, "tokenizer": WORDS}
    for name, recipe, rows, given in (
        ("live", GKD(of, temperature=2.0), ROWS, live),
        ("stored", TopK(tail.Bucketed(of), temperature=2.0), stored, {}),
    ):
        data = iterate.Batches(rows, PAD, batch_size=4, seed=0)
        lines[name] = learned(tmp_path / name, told.model, recipe, data, **given)
    for mine, wanted in zip(lines["stored"], lines["live"], strict=True):
        assert wanted["loss"] > 0.01
        for name in ("loss", "teacher_divergence", "grad_norm"):
            np.testing.assert_allclose(mine[name], wanted[name], rtol=1e-3, err_msg=name)


def test_entries_of_other_tokens_are_refused(folder, tmp_path):
    other = [dataclasses.replace(row, prompt=row.prompt[:1]) for row in ROWS]
    with pytest.raises(ValueError, match="belong to 35 other tokens than these 35"):
        entries.read(folder, other, width=6, vocab_size=8)
    with pytest.raises(ValueError, match="belong to 35 other tokens than these 11"):
        entries.read(folder, ROWS[:2], width=6, vocab_size=8)
    with pytest.raises(ValueError, match="completions of up to 5 tokens"):
        entries.read(folder, ROWS, width=4, vocab_size=8)
    with pytest.raises(ValueError, match="hold the id 7 and the student has 7"):
        entries.read(folder, ROWS, width=6, vocab_size=7)
    with pytest.raises(FileNotFoundError, match="holds no teacher's entries"):
        entries.read(tmp_path, ROWS, width=6, vocab_size=8)


def test_a_folder_that_is_not_whole_does_not_count(tmp_path):
    writer = entries.Writer(tmp_path, ROWS, 2)
    writer.append(np.zeros((4, 2), np.int32), np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match="4 of 35 tokens have entries"):
        writer.finish(temperature=1.0)
    with pytest.raises(FileNotFoundError, match="not all"):
        entries.read(tmp_path, ROWS, width=6, vocab_size=8)


def test_sequences_of_the_teacher_are_learned_as_demonstrations(told, tmp_path):
    """Distillation of sequences: the student comes near the teacher that wrote them."""
    limits = encode.Limits(prompt=4, completion=6)
    asked, _ = prompts.encode([{"prompt": x} for x in "abcdeab"], fields.PromptFields(), WORDS, limits)
    sampling = sample.Sampling(max_new_tokens=6, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id)
    sizes = {"count": 40, "batch_size": 4}
    written = teacher.write(told, WORDS, asked, prompts.Pad([4], WORDS.pad_id), sampling, jax.random.key(0), **sizes)
    assert [row.index for row in written] == [i for i in range(7) for _ in range(40)]
    assert len({tuple(row.completions[0]) for row in written[:40]}) > 20
    pad = batch.Pad([batch.Bucket(4, 6)], WORDS.pad_id, group_size=1)
    groups = pad(written, slice(0, 280)).to_device(jnp.asarray)
    assert (np.asarray(groups.completion_lengths) > 0).all()
    student = told.model.init(jax.random.key(0))

    def far(params):
        one, other = (told.model.token_stats(x, groups).logps for x in (params, told.params))
        return float(jnp.sum(other - one)) / int(groups.completion_mask.sum())

    learner = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(2e-2)))
    data = iterate.Batches(written, pad, batch_size=40, seed=0)
    parts = offline.Offline(told.model, sft.SFT(), learner, data)
    state = offline.run_offline(parts, run.Plan(tmp_path, steps=40), student)
    assert far(state.params) < 0.3 * far(student)


def test_a_teacher_with_another_tokenizer_is_not_asked(told, tmp_path):
    with pytest.raises(ValueError, match="Student and teacher have different tokenizers"):
        teacher.store(told, vocabulary.characters("edcba"), ROWS, PAD, tmp_path, count=2, batch_size=2)
    assert not list(tmp_path.iterdir())
