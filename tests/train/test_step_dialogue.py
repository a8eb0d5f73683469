"""Step-GRPO in a dialogue with tools: every turn of a known one is a prompt of its own, and its completions a group."""

import dataclasses

import bigram
import jax
import numpy as np
from errands import BOX, FRAME
from test_speaker import zscores

from posttrain_jax.data import encode, fields, iterate, prompts
from posttrain_jax.environment import dialogue, host
from posttrain_jax.models import sharding, vocabulary
from posttrain_jax.recipes.policy import grpo
from posttrain_jax.rewards import combine, pool, route
from posttrain_jax.rewards import dialogue as talking
from posttrain_jax.rollout import rehearsal, sample, turn
from posttrain_jax.train import metrics, online, optimizer, run

WORDS = vocabulary.characters("0123456789a?+=;]()")
SAMPLING = sample.Sampling(6, (*WORDS.stop_ids, *WORDS.encode("]")), pad_id=WORDS.pad_id)
QUESTION = {"prompt": "a+7=", "table": {"a": "52"}, "kind": "errand"}
ROWS = rehearsal.unroll(BOX, QUESTION, ["?a]", "52+7]", "59"], FRAME)
ROWS += rehearsal.unroll(BOX, {"prompt": "3=", "kind": "copy"}, ["3"], FRAME)
PLAIN = grpo.GRPO(kl_coef=0.0)


def near(one):
    """Of the signs of the right turn, those that were said."""
    assert one.counts["turns"] == 1
    assert one.counts["calls"] == 0
    wanted = set(one.example["answer"])
    return len(wanted & set(one.completion)) / len(wanted)


def short(one):
    return -one.completion_tokens / 10


@dataclasses.dataclass(frozen=True)
class Watched:
    """`PLAIN`, whose rollouts, rewards and advantages are kept."""

    seen: list = dataclasses.field(default_factory=list, hash=False)

    needs_ref = False

    def init_memory(self):
        return ()

    def credit(self, rollout, rewards, columns, lookup, memory):
        batch = PLAIN.credit(rollout, rewards)
        jax.debug.callback(lambda *got: self.seen.append(jax.device_get(got)), rollout, rewards, batch.advantages)
        return batch, memory

    def loss(self, policy, batch):
        return PLAIN.loss(policy, batch)


def parts(**changes):
    encoded, _ = prompts.encode(ROWS, fields.PromptFields("prompt"), WORDS, encode.Limits(24, 6))
    reward = talking.LastTurn(route.Routed("kind", {"errand": near, "copy": short}))
    there = host.Host(dialogue.end, workers=0, timeout_s=1.0)
    given = {
        "model": bigram.model(sharding.make_mesh(), WORDS.vocab_size + WORDS.vocab_size % 2),
        "recipe": PLAIN,
        "optimizer": optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(2e-2))),
        "tokenizer": WORDS,
        "data": iterate.Batches(encoded, prompts.Pad([24], WORDS.pad_id), batch_size=4, seed=0),
        "rewards": pool.RewardPool(combine.WeightedRewards({"turn": (1.0, reward)}), workers=0, timeout_s=1.0),
        "sampling": SAMPLING,
        "group_size": 6,
        "turns": turn.Turns(there, limit=1, output_tokens=1),
    }
    return online.Online(**given | changes)


def test_every_step_is_a_group_behind_what_was_said_before(tmp_path):
    watched = Watched()
    given = parts(recipe=watched)
    online.run_online(given, run.Plan(tmp_path, steps=1), given.model.init(jax.random.key(0)))
    rollout, rewards, advantages = watched.seen[0]
    groups, kinds = rollout.groups, []
    for at in range(4):
        prompt = WORDS.decode(groups.prompts[at][: groups.prompt_lengths[at]].tolist(), keep_special=False)
        (row,) = (row for row in ROWS if row["prompt"] == prompt)
        kinds.append(row["kind"])
        # tools spoke in the prompt: of the completion every token is the policy's, and one turn
        own = np.arange(6) < groups.completion_lengths[at][:, None]
        np.testing.assert_array_equal(groups.completion_mask[at], own)
        np.testing.assert_array_equal(rollout.segments.ids[at], np.where(own, 0, -1))
        np.testing.assert_allclose(
            advantages[at], np.where(own, zscores(rewards[at])[:, None], 0), atol=1e-4, err_msg=row["answer"]
        )
    assert sorted(kinds) == ["copy"] + ["errand"] * 3
    assert len(set(groups.group_ids.tolist())) == 4
    assert sum(np.ptp(one) > 0 for one in rewards) >= 3


def test_each_turn_is_learned_by_itself(tmp_path):
    given = parts()
    online.run_online(given, run.Plan(tmp_path, steps=15), given.model.init(jax.random.key(0)))
    rewards = [line["reward"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.05
