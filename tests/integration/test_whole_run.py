"""Whole runs that are stopped, damaged, changed or spread otherwise, and go on."""

import dataclasses
import json
import os
import shutil
import signal

import bigram
import jax
import numpy as np
import pytest

from posttrain_jax.data import batch, demonstrations, encode, fields, iterate
from posttrain_jax.models import sharding, vocabulary
from posttrain_jax.recipes.likelihood import sft
from posttrain_jax.train import interruption, metrics, offline, optimizer, run

WORDS = vocabulary.characters("abcd=")
ROWS = [{"prompt": f"{a}{b}=", "completion": b + a} for a in "abcd" for b in "abcd"]


@pytest.fixture(scope="module")
def model():
    return bigram.model(sharding.make_mesh(), 8)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def parts(model, *, rate=1e-2):
    limits = encode.Limits(prompt=4, completion=6)
    rows, _ = demonstrations.encode(ROWS, fields.DemonstrationFields(), WORDS, limits)
    data = iterate.Batches(rows, batch.Pad([batch.Bucket(4, 6)], WORDS.pad_id, 1), batch_size=8, seed=0)
    adamw = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(rate)))
    return offline.Offline(model, sft.SFT(), adamw, data)


def leaves(state):
    return [np.asarray(x) for x in jax.tree.leaves((state.params, state.opt_state, state.step))]


def assert_same(one, two):
    for x, y in zip(leaves(one), leaves(two), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def whole(model, start, tmp_path_factory):
    """A run of four steps, each one saved, and what it ended with."""
    plan = run.Plan(tmp_path_factory.mktemp("whole") / "run", steps=4, save_every=1, eval_every=1, keep=4)
    return plan, offline.run_offline(parts(model), plan, start)


@pytest.fixture
def heard():
    """SIGINT raises KeyboardInterrupt, also where the shell that started the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_told_to_end_saves_and_goes_on_bit_for_bit(tmp_path, model, start, whole, capfd, number, status):
    def told_at_two(params, step):
        if step == 2:
            os.kill(os.getpid(), number)
        return {}

    plan = dataclasses.replace(whole[0], folder=tmp_path, save_every=100)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        offline.run_offline(parts(model), plan, start, evaluate=told_at_two)
    assert ended.value.code == status
    assert signal.getsignal(number) == before
    said = capfd.readouterr().err
    assert f"{number.name}: ending after this step; once more ends at once" in said
    assert f"The run is saved as of step 2 in {tmp_path}: the same command goes on from there." in said
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["2"]
    assert_same(offline.run_offline(parts(model), plan, start), whole[1])


def test_the_second_signal_does_what_it_does_elsewhere():
    before = signal.getsignal(signal.SIGTERM)
    with interruption.Interruption() as asked:
        assert signal.getsignal(signal.SIGTERM) != before
        assert not asked.agreed(last=False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert not asked.agreed(last=True)
        assert asked.agreed(last=False)
        assert signal.getsignal(signal.SIGTERM) == before


def test_a_damaged_newest_checkpoint_costs_its_steps_and_no_more(tmp_path, model, start, whole, capsys):
    folder = shutil.copytree(whole[0].folder, tmp_path / "run")
    for path in (folder / "checkpoints" / "4" / "arrays").rglob("*"):
        path.write_bytes(path.read_bytes()[:7]) if path.is_file() else None
    again = offline.run_offline(parts(model), dataclasses.replace(whole[0], folder=folder), start)
    assert_same(again, whole[1])
    assert f"Checkpoint {folder / 'checkpoints' / '4'} is damaged" in capsys.readouterr().err
    assert [line["step"] for line in metrics.read(folder / "metrics.jsonl")] == [1, 2, 3, 4]


def test_a_run_that_has_ended_says_so(model, start, whole, capsys):
    assert_same(offline.run_offline(parts(model), whole[0], start), whole[1])
    said = f"{whole[0].folder} holds a run of 4 steps and 4 are asked for, so nothing is left to do: ask for more steps"
    assert said in capsys.readouterr().err


def test_another_learning_rate_is_announced_and_kept_with_the_run(tmp_path, model, start, whole, capsys):
    folder = shutil.copytree(whole[0].folder, tmp_path / "run")
    longer = dataclasses.replace(whole[0], folder=folder, steps=5)
    offline.run_offline(parts(model, rate=5e-3), longer, start)
    said = capsys.readouterr().err
    assert "was trained until step 4 with another optimizer and goes on with peak=0.005 (until now 0.01): if" in said
    for steps in (5, 6):  # it stays with the run, and is not announced twice
        offline.run_offline(parts(model, rate=5e-3), dataclasses.replace(longer, steps=steps), start)
        assert "was trained until" not in capsys.readouterr().err
        about = json.loads((folder / "run.json").read_text())
        assert about["earlier"].startswith("optimizer until step 4: Update(config=AdamW(schedule=Constant(peak=0.01")
        assert "peak=0.005" in about["optimizer"]


def test_a_run_goes_on_with_eight_four_and_one_devices(tmp_path, start, whole):
    plan = dataclasses.replace(whole[0], folder=tmp_path)
    meshes = {1: {"data": 2, "fsdp": 2, "tensor": 2}, 2: {"fsdp": 4}, 4: {}}
    for steps, mesh in meshes.items():
        model = bigram.model(sharding.make_mesh(**mesh), 8)
        like = jax.tree.map(lambda x: x.sharding, model.abstract_params())
        given = jax.device_put(start, like)
        state = offline.run_offline(parts(model), dataclasses.replace(plan, steps=steps), given)
    losses = [[line["loss"] for line in metrics.read(one / "metrics.jsonl")] for one in (tmp_path, whole[0].folder)]
    assert len(losses[0]) == 4
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for x, y in zip(leaves(state), leaves(whole[1]), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5)
