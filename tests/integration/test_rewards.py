"""Whole runs whose rewards misbehave."""

import json
import math
import pathlib
import sys

import bigram
import jax
import numpy as np
import pytest
import rich.console

from posttrain_jax.data import encode, fields, iterate, prompts
from posttrain_jax.models import sharding, vocabulary
from posttrain_jax.recipes.policy import grpo
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import display, metrics, online, optimizer, run

sys.path.append(str(pathlib.Path(__file__).parents[1] / "rewards"))
import misbehaving

WORDS = vocabulary.characters("abcdefgh")
ACTS = {"a": "hang", "b": "segfault", "c": "flood", "d": "eat", "e": "nested", "f": "raise", "g": "die", "h": None}
"""What the reward does for completions that begin with a letter; 'h' is scored by its length."""


@pytest.fixture(scope="module")
def model():
    return bigram.model(sharding.make_mesh(), WORDS.vocab_size)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def parts(model, rewards, *, prompts_per_step=8):
    rows = [{"prompt": a + b} for a in "abcdefgh" for b in "abcdefgh"]
    encoded, _ = prompts.encode(rows, fields.PromptFields(), WORDS, encode.Limits(4, 1))
    return online.Online(
        model=model,
        recipe=grpo.GRPO(kl_coef=0.0),
        optimizer=optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-2))),
        tokenizer=WORDS,
        data=iterate.Batches(encoded, prompts.Pad([4], WORDS.pad_id), batch_size=prompts_per_step, seed=0),
        rewards=rewards,
        sampling=sample.Sampling(max_new_tokens=4, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id),
        group_size=4,
    )


def test_a_run_goes_on_whatever_its_rewards_do_and_shows_it(tmp_path, model, start, capfd):
    rewards = combine.WeightedRewards({"mine": (1.0, misbehaving.ByLetter(ACTS))})
    console = rich.console.Console(width=300, force_terminal=False)
    with pool.RewardPool(rewards, workers=2, timeout_s=1.0, memory_bytes=2 << 30) as scorer:
        screen = display.Display(2, console=console)
        plan = run.Plan(tmp_path, steps=2, sample_every=1)
        online.run_online(parts(model, scorer), plan, start, loggers=[screen])
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2]
    counts = {kind: sum(line.get(f"failed/{kind}", 0) for line in lines) for kind in ("timeouts", "crashes", "errors")}
    assert min(counts.values()) > 0
    for line in lines:
        failed = sum(count for name, count in line.items() if name.startswith("failed/"))
        assert line["unscored"] * 32 == pytest.approx(failed)
        assert 0 < line["unscored"] < 1
        assert math.isfinite(line["loss"])
        assert line["grad_norm"] > 0
    shown = [json.loads(text) for text in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert None in {row["reward"] for row in shown}
    out, said = capfd.readouterr()
    assert "failed/timeouts" in out
    assert "unscored" in out
    assert " nan " in out  # in the table of samples
    assert " of 32 completions have no reward (the first: " in said
    assert said.count("completions have no reward") == 1


def test_a_whole_batch_of_crashes_stops_the_run_with_a_saved_state_and_it_goes_on(tmp_path, model, start):
    broken = tmp_path / "broken"

    def breaks_after_two(params, step):
        if step == 2:
            broken.touch()
        return {}

    def train(folder, evaluate):
        rewards = combine.WeightedRewards({"mine": (1.0, misbehaving.WhileThere(str(broken)))})
        with pool.RewardPool(rewards, workers=2, timeout_s=10.0) as scorer:
            plan = run.Plan(folder, steps=4, save_every=10, eval_every=1)
            return online.run_online(parts(model, scorer, prompts_per_step=2), plan, start, evaluate=evaluate)

    whole = train(tmp_path / "whole", None)
    with pytest.raises(
        RuntimeError, match=r"step 3: no completion was scored \(the worker died.*saved as of step 2 in"
    ):
        train(tmp_path / "run", breaks_after_two)
    broken.unlink()
    again = train(tmp_path / "run", None)
    for x, y in zip(jax.tree.leaves(whole.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(x, y)


def test_an_error_in_the_middle_of_a_run_loses_nothing_that_was_trained(tmp_path, model, start, capsys, monkeypatch):
    calls = []

    def ends(rows):
        calls.append(len(rows))
        if len(calls) == 4:  # of the third step: the first call was the check of fields
            raise OSError("no more processes")
        return scored(rows)

    rewards = combine.WeightedRewards({"mine": (1.0, misbehaving.length)})
    plan = run.Plan(tmp_path, steps=4, save_every=10)
    with pool.RewardPool(rewards, workers=0, timeout_s=1.0) as inner:
        scored = inner.score
        monkeypatch.setattr(inner, "score", ends)
        with pytest.raises(OSError, match="no more processes"):
            online.run_online(parts(model, inner), plan, start)
        assert f"The run is saved as of step 2 in {tmp_path}." in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["2"]
        assert int(online.run_online(parts(model, inner), plan, start).step) == 4
