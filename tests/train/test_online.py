import dataclasses
import json
import math
import re

import bigram
import jax
import numpy as np
import pytest

from posttrain_jax.data import encode, fields, iterate, prompts
from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.policy import grpo, rloo
from posttrain_jax.recipes.preference import beta_dpo, online_preference
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import checks, metrics, online, optimizer, run

WORDS = vocabulary.characters("abcd=")


def letters_a(one):
    return one.completion.count("a") / 6


def broken(one):
    raise RuntimeError("no such answer")


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(data=2, vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def parts(model, *, recipe=None, reward=letters_a, rows=16, **changes):
    rows = [{"prompt": f"{a}{b}="} for a in "abcd" for b in "abcd"][:rows]
    limits = encode.Limits(prompt=4, completion=6)
    encoded, _ = prompts.encode(rows, fields.PromptFields("prompt"), WORDS, limits)
    fields_ = {
        "model": model,
        "recipe": recipe or grpo.GRPO(),
        "optimizer": optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(2e-2))),
        "tokenizer": WORDS,
        "data": iterate.Batches(encoded, prompts.Pad([4], WORDS.pad_id), batch_size=4, seed=0),
        "rewards": pool.RewardPool(combine.WeightedRewards({"a": (1.0, reward)}), workers=0, timeout_s=1.0),
        "sampling": sample.Sampling(max_new_tokens=6, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id),
        "group_size": 4,
    }
    return online.Online(**fields_ | changes)


def leaves(state):
    return [np.asarray(x) for x in jax.tree.leaves((state.params, state.opt_state, state.step))]


def numbers(folder):
    """Metrics without the times."""
    lines = metrics.read(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if not k.startswith(("seconds", "tokens_per"))} for line in lines]


def test_before_the_first_update_reference_and_policy_are_scored_once(tmp_path, model, start, stages):
    online.run_online(parts(model), run.Plan(tmp_path, steps=2), start)
    step = ["sampling", "the scoring pass", "the update"]
    assert stages == ["sampling", "the scoring pass", *step[1:], *step]


ASKED = []
"""Temperature and size of the kept ids of every pass that `Watched` has made."""


class Watched(bigram.Bigram):
    """Says what is asked of it."""

    def token_stats(self, params, groups, *, temperature=1.0, kept_ids=None, comparisons=None, fixed=None):
        ASKED.append((temperature, None if kept_ids is None else kept_ids.shape[-1]))
        asked = {"temperature": temperature, "kept_ids": kept_ids, "comparisons": comparisons, "fixed": fixed}
        return super().token_stats(params, groups, **asked)


@pytest.mark.parametrize(
    "recipe", [grpo.GRPO(), online_preference.OnlinePreference(beta_dpo.BetaDPO())], ids=["group", "pairs"]
)
def test_every_pass_scores_what_was_sampled_from(tmp_path, model, start, recipe):
    """Reference, old policy, what the recipe asks and the update: at one temperature, over the ids that were kept."""
    ASKED.clear()
    watched = Watched(model.config, model.compute, model.mesh)
    cut = sample.Sampling(6, WORDS.stop_ids, temperature=0.7, top_k=3, top_p=0.9, pad_id=WORDS.pad_id)
    made = parts(
        watched, recipe=recipe, reward=lambda one: float(len(one.completion)), sampling=cut, updates_per_rollout=2
    )
    online.run_online(made, run.Plan(tmp_path, steps=1), start)
    assert len(ASKED) >= 2
    assert set(ASKED) == {(0.7, 3)}


def test_what_is_sampled_from_moves_with_the_policy(tmp_path, model, start):
    """The reward of RLOO holds log sampler / ref, which stays 0 where an update does not reach the sampler."""
    online.run_online(parts(model, recipe=rloo.RLOO(kl_coef=0.01)), run.Plan(tmp_path, steps=3), start)
    first, *_, last = [line["kl"] for line in numbers(tmp_path)]
    assert abs(first) < 1e-6
    assert abs(last) > 1e-4


def test_every_step_draws_anew(tmp_path, model, start):
    """Of the same prompts, a policy that stands still."""
    drawn = []

    def seen(one):
        drawn.append((one.prompt, one.completion))
        return float(len(one.completion))

    still = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(0.0)))
    online.run_online(parts(model, reward=seen, optimizer=still, rows=4), run.Plan(tmp_path, steps=2), start)
    first, second = drawn[-32:-16], drawn[-16:]
    assert {prompt for prompt, _ in first} == {prompt for prompt, _ in second}
    assert sorted(first) != sorted(second)


def test_a_run_learns_and_a_resumed_run_is_the_same_bit_for_bit(tmp_path, model, start, compiled):
    plan = run.Plan(tmp_path / "whole", steps=6, save_every=3, eval_every=2, sample_every=3)
    seen = []

    def evaluate(params, step):
        seen.append(step)
        return {"norm": float(np.linalg.norm(np.asarray(params["head"])))}

    whole = online.run_online(parts(model), plan, start, evaluate=evaluate)
    assert seen == [0, 2, 4, 6]
    lines = numbers(tmp_path / "whole")
    assert [line["step"] for line in lines] == list(range(7))
    assert lines[1]["kl"] < 1e-6  # the first update starts at the reference
    assert lines[1]["ratio"] == pytest.approx(1, abs=1e-6)
    assert lines[6]["kl"] > 1e-4
    assert {"reward", "entropy", "completion_length", "truncated", "grad_norm", "eval/norm"} <= lines[6].keys()
    about = json.loads((tmp_path / "whole" / "run.json").read_text())
    assert about["objective"] == re.sub(" at 0x[0-9a-f]+", "", repr(grpo.GRPO()))  # the same in every process

    short = dataclasses.replace(plan, folder=tmp_path / "parts", steps=3)
    online.run_online(parts(model), short, start, evaluate=evaluate)
    again = online.run_online(parts(model), dataclasses.replace(short, steps=6), start, evaluate=evaluate)
    for x, y in zip(leaves(whole), leaves(again), strict=True):
        np.testing.assert_array_equal(x, y)
    there = numbers(tmp_path / "parts")
    assert [line["step"] for line in there] == list(range(7))
    for one, two in zip(lines, there, strict=True):
        assert one == {k: v for k, v in two.items() if k in one}
    # a run that has ended only gives its state back
    ended = online.run_online(parts(model), dataclasses.replace(short, steps=6), start)
    np.testing.assert_array_equal(leaves(ended)[0], leaves(whole)[0])


def test_several_updates_per_rollout_leave_the_old_policy(tmp_path, model, start):
    plan = run.Plan(tmp_path, steps=1)
    state = online.run_online(parts(model, recipe=grpo.GRPO(kl_coef=0.0), updates_per_rollout=2), plan, start)
    assert int(state.step) == 2
    (line,) = numbers(tmp_path)
    assert line["ratio"] != 1.0
    assert "kl" not in line


def test_a_step_without_a_score_stops_the_run_with_its_state_saved(tmp_path, model, start):
    calls = []

    def fails_later(one):
        calls.append(one)
        if len(calls) > 2 * 16:
            raise RuntimeError("no such answer")
        return float(one.completion.count("a"))

    plan = run.Plan(tmp_path, steps=5, save_every=10)
    with pytest.raises(RuntimeError, match=r"step 3: no completion was scored .*no such answer.* as of step 2"):
        online.run_online(parts(model, reward=fails_later), plan, start)
    state = online.run_online(parts(model), plan, start)  # the reward mended, the same command goes on
    assert int(state.step) == 5
    assert [line["step"] for line in numbers(tmp_path)] == [1, 2, 3, 4, 5]


def test_failed_rewards_are_counted_and_left_out(tmp_path, model, start):
    def sometimes(one):
        if "a" in one.completion:
            raise ValueError("unreadable")
        return float(len(one.completion))

    online.run_online(parts(model, reward=sometimes), run.Plan(tmp_path, steps=1), start)
    (line,) = numbers(tmp_path)
    assert 0 < line["unscored"] < 1
    assert line["failed/errors"] == line["unscored"] * 16
    assert math.isfinite(line["loss"])
    assert any(row["reward"] is None for row in metrics.read(tmp_path / "samples.jsonl")) or line["unscored"] < 1


def test_equal_rewards_are_refused_unless_wanted(tmp_path, model, start, capsys):
    flat = parts(model, reward=lambda one: 0.0)
    plan = run.Plan(tmp_path, steps=2)
    with pytest.raises(ValueError, match="all 16 rewards of the first batch are 0, from which nothing"):
        online.run_online(flat, plan, start)
    assert not list(tmp_path.iterdir())
    capsys.readouterr()
    online.run_online(dataclasses.replace(flat, refuse_equal_rewards=False), plan, start)
    assert capsys.readouterr().err.count("reward 'a' gave all completions of a prompt the same score") == 1
    for line in numbers(tmp_path):
        assert line["equal_groups"] == 1
        assert line["grad_norm"] < 1e-6


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, model, start):
    @dataclasses.dataclass(frozen=True)
    class Exploding(rloo.RLOO):
        def loss(self, policy, batch):
            loss, numbers = super().loss(policy, batch)
            return loss * np.float32(np.inf), numbers

    with pytest.raises(RuntimeError, match=r"step 1: loss or gradient is not finite.* as of step 0"):
        online.run_online(parts(model, recipe=Exploding(kl_coef=0.0)), run.Plan(tmp_path, steps=2), start)


def test_unusable_sampling_is_refused(tmp_path, model, start):
    endless = sample.Sampling(max_new_tokens=6, stop_ids=())
    with pytest.raises(ValueError, match="no stop id"):
        online.run_online(parts(model, sampling=endless), run.Plan(tmp_path, steps=1), start)
    with pytest.raises(ValueError, match="samples greedily"):
        checks.sampling(sample.Sampling(max_new_tokens=6, stop_ids=(1,), temperature=0.0))
