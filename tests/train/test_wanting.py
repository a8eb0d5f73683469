"""Recipes that want more than samples, rewards and a reference, through the online loop."""

import dataclasses

import jax
import numpy as np
import pytest
import sparing

from posttrain_jax.data import column, encode, fields, iterate, prompts
from posttrain_jax.models import vocabulary
from posttrain_jax.recipes.policy.branch_grpo import BranchGRPO
from posttrain_jax.recipes.policy.dcpo import DCPO
from posttrain_jax.recipes.policy.dro import DRO
from posttrain_jax.recipes.policy.gigpo import GiGPO
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.nthr import NTHR
from posttrain_jax.recipes.policy.remax import ReMax
from posttrain_jax.recipes.policy.segmented import Segmented
from posttrain_jax.recipes.policy.thr import THR
from posttrain_jax.recipes.policy.tw_grpo import TWGRPO
from posttrain_jax.rewards import combine, pool
from posttrain_jax.rollout import sample
from posttrain_jax.train import metrics, online, optimizer, run

WORDS = vocabulary.characters("abcd=")


@pytest.fixture
def parts(tiny):
    """A stand-in, rewarded for each letter a."""
    model = tiny.bigram(data=2)
    rows = [{"prompt": f"{a}{b}="} for a in "abcd" for b in "abcd"]
    encoded, _ = prompts.encode(rows, fields.PromptFields("prompt"), WORDS, encode.Limits(prompt=4, completion=6))
    letters = {"a": (1.0, lambda one: one.completion.count("a") / 6)}
    return online.Online(
        model=model,
        recipe=ReMax(kl_coef=0.0),
        optimizer=optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(0.3))),
        tokenizer=WORDS,
        data=iterate.Batches(encoded, prompts.Pad([4], WORDS.pad_id), batch_size=8, seed=0),
        rewards=pool.RewardPool(combine.WeightedRewards(letters), workers=0, timeout_s=1.0),
        sampling=sample.Sampling(max_new_tokens=6, stop_ids=WORDS.stop_ids, pad_id=WORDS.pad_id),
        group_size=4,
    )


RECIPES = {
    "remax": ReMax(kl_coef=0.0),
    "branch_grpo": BranchGRPO(splits=(0, 2), clip_high=0.2),
    "thr": THR(GRPO(kl_coef=0.0), scale=0.5, above=0.2),
    "segmented": Segmented(GiGPO(recipe=GRPO(kl_coef=0.0)), ends=tuple(WORDS.encode("d")), count=4),
    "nthr": NTHR(GRPO(kl_coef=0.0), above=0.2),
    "tw_grpo": TWGRPO(),
}


@pytest.mark.parametrize("recipe", sparing.some(RECIPES, "remax", "branch_grpo"))
def test_a_policy_learns(tmp_path, parts, recipe):
    parts = dataclasses.replace(parts, recipe=recipe)
    online.run_online(parts, run.Plan(tmp_path, steps=10), parts.model.init(jax.random.key(0)))
    rewards = [line["reward"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.15


def test_a_group_that_does_not_fit_is_refused(tmp_path, parts):
    parts = dataclasses.replace(parts, recipe=BranchGRPO(splits=(0, 2), ways=3))
    with pytest.raises(ValueError, match="2 splits into 3 make 9 completions of a prompt and group_size is 4"):
        online.run_online(parts, run.Plan(tmp_path, steps=1), parts.model.init(jax.random.key(0)))


def test_a_column_of_the_data_reaches_the_recipe(tmp_path, parts, tiny):
    """The answer is learned from by its likelihood alone, the rewards being all the same."""
    rows = [{"prompt": "ab=", "answer": "c"}, {"prompt": "ba=", "answer": "da"}]
    encoded, _ = prompts.encode(rows, fields.PromptFields("prompt"), WORDS, encode.Limits(prompt=4, completion=6))
    answers = [column.prompt(WORDS.encode(row["answer"]), 2) for row in rows]
    batches = iterate.Batches(
        prompts.attach(encoded, "answer", answers), prompts.Pad([4], WORDS.pad_id), batch_size=2, seed=0
    )
    np.testing.assert_array_equal(iterate.ahead(batches).columns["answer"][:, 0] >= 0, [True, True])
    model = tiny.model()  # a decoder: the stand-in's answer would not depend on the thought before it
    parts = dataclasses.replace(
        parts,
        model=dataclasses.replace(model, config=dataclasses.replace(model.config, num_layers=1)),
        recipe=DRO(tuple(WORDS.encode("=")), recipe=GRPO(kl_coef=0.0)),
        data=batches,
        rewards=pool.RewardPool(combine.WeightedRewards({"none": (1.0, lambda one: 0.0)}), workers=0, timeout_s=1.0),
        refuse_equal_rewards=False,
    )
    online.run_online(parts, run.Plan(tmp_path, steps=2), parts.model.init(jax.random.key(0)))
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert all(line["reward_std"] == 0 for line in lines)
    assert all(line["grad_norm"] > 0 for line in lines)


def test_data_with_more_rows_than_a_recipe_remembers_are_refused(tmp_path, parts):
    parts = dataclasses.replace(parts, recipe=DCPO(prompts=2))
    with pytest.raises(ValueError, match="DCPO remembers 2 prompts and the data hold row"):
        online.run_online(parts, run.Plan(tmp_path, steps=1), parts.model.init(jax.random.key(0)))
