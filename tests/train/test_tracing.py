"""Nothing compiles after the first step of a bucket, and the guard says so where it does."""

import collections

import jax
import jax.numpy as jnp
import pytest

from posttrain_jax.data import batch, demonstrations, encode, fields, iterate, prompts
from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.likelihood import sft
from posttrain_jax.recipes.policy import grpo
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import metrics, offline, online, optimizer, run, tracing

WORDS = vocabulary.characters("abcd=")


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(vocab_size=WORDS.vocab_size)


@pytest.fixture
def traced():
    """How often each function was traced, by name."""
    counts = collections.Counter()

    def listen(event, _, **about):
        if event == tracing.TRACED:
            counts[about["fun_name"]] += 1

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield counts
    jax.monitoring.unregister_event_duration_listener(listen)


def ragged():
    """Prompts of 2 and of 5 tokens, completions of 2 to 6, in an order that changes every epoch."""
    return [{"prompt": "ab"[i % 2] * (1 if i % 3 else 4) + "=", "completion": "abcda"[: i % 5 + 1]} for i in range(12)]


ADAMW = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(1e-3)))


def test_offline_compiles_each_bucket_once(tmp_path, model, traced):
    limits = encode.Limits(prompt=6, completion=6)
    rows, _ = demonstrations.encode(ragged(), fields.DemonstrationFields(), WORDS, limits)
    buckets = [batch.Bucket(3, 6), batch.Bucket(6, 6)]
    data = iterate.Batches(rows, batch.Pad(buckets, WORDS.pad_id, 1), batch_size=2, seed=0)
    parts = offline.Offline(model, sft.SFT(), ADAMW, data)
    offline.run_offline(parts, run.Plan(tmp_path, steps=9, save_every=4), model.init(jax.random.key(0)))
    assert traced["update"] == 2
    assert len(metrics.read(tmp_path / "metrics.jsonl")) == 9


def odd(one):
    return len(one.completion) % 2 + one.completion.count("a")


def test_online_compiles_each_bucket_once(tmp_path, model, traced):
    rows, _ = prompts.encode(ragged(), fields.PromptFields(), WORDS, encode.Limits(6, 1))
    data = iterate.Batches(rows, prompts.Pad([3, 6], WORDS.pad_id), batch_size=2, seed=0)
    scorer = pool.RewardPool(combine.WeightedRewards({"odd": (1.0, odd)}), workers=0, timeout_s=1.0)
    sampling = sample.Sampling(4, WORDS.stop_ids)
    parts = online.Online(model, grpo.GRPO(), ADAMW, WORDS, data, scorer, sampling, group_size=4)
    online.run_online(parts, run.Plan(tmp_path, steps=9, save_every=4), model.init(jax.random.key(0)))
    assert {name: traced[name] for name in ("generate", "score", "update")} == {"generate": 2, "score": 2, "update": 2}


def test_the_guard_names_what_changed(tiny):
    groups = tiny.groups(tiny.toy())
    double = jax.jit(lambda x: 2 * x)
    x, wide, whole, single = jnp.ones((2, 3)), jnp.ones((2, 4)), jnp.ones((2, 3), jnp.int32), jnp.ones(())
    other = tiny.groups(tiny.toy(), T=7)
    with tracing.Guard() as guard:
        for step, (seen, argument) in enumerate([(groups, x), (groups, x), (other, wide), (groups, x)]):
            for _ in guard.steps([step]):
                double(argument)
                guard.check(step, seen, {"weights": argument})
        double(whole)  # an evaluation, between two steps
        for step in guard.steps([7]):
            double(single)
            with pytest.warns(
                RuntimeWarning, match=r"step 7 compiled .*<lambda> again, .*not shape, dtype or sharding"
            ):
                guard.check(step, groups, {"weights": x})
        for step in guard.steps([8]):
            jax.jit(lambda x: x + 1)(whole)
            changed = (
                r"completions \[8, 2, 6\] had been seen. What changed: weights was float32\[2,3\] on .* and is int32"
            )
            with pytest.warns(RuntimeWarning, match=changed):
                guard.check(step, groups, {"weights": whole})
