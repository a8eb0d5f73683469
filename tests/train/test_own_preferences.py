"""Preferences among the policy's own completions, through the online loop: every way to compare them, and a judge."""

import dataclasses

import jax
import numpy as np
import pytest
import sparing
from test_online import parts

from posttrain_jax.losses import ensemble, pairing
from posttrain_jax.models import scalar_model, vocabulary
from posttrain_jax.recipes.preference import (
    bco,
    dno,
    dpo,
    gepo,
    in_context_ranking_po,
    ipo,
    kto,
    lcpo,
    online_preference,
    plackett_luce_dpo,
    rrpo,
    simpo,
    sppo,
    tdpo1,
    trpa,
)
from posttrain_jax.rewards import combine, pool
from posttrain_jax.train import judging, metrics, online, optimizer, reference, run

WORDS = vocabulary.characters("abcd=")
Own = online_preference.OnlinePreference
RECIPES = {
    "best and worst": Own(dpo.DPO(beta=0.5)),
    "all pairs": Own(dpo.DPO(beta=0.5), pairing.AllPairs()),
    "threshold": Own(dpo.DPO(beta=0.5), pairing.Across(0.25)),
    "ranked": Own(plackett_luce_dpo.PlackettLuceDPO(beta=0.5), pairing.ranked),
    "online IPO": Own(ipo.IPO(beta=0.2), pairing.AllPairs()),
    "SPPO": Own(sppo.SPPO(beta=0.2), pairing.AllPairs()),
    "SimPO": Own(simpo.SimPO()),
    "divergences": Own(tdpo1.TDPO1(beta=0.5)),
    "noisy judge": Own(lcpo.LCPO(dpo.DPO(beta=0.5))),
    "win rates": Own(dno.DNO(beta=0.5), pairing.AllPairs()),
    "KTO": Own(kto.KTO(beta=0.5), pairing.alone),
    "BCO": Own(bco.BCO(beta=0.5), pairing.alone),
    "graded list": Own(in_context_ranking_po.InContextRankingPO(beta=3.0), pairing.ranked),
    "winners": Own(gepo.GEPO(beta=0.5), pairing.ranked),
    "phrases": Own(rrpo.RRPO(beta=0.5)),
    "TRPA": trpa.TRPA(beta=2.0, best=0.5),
}


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(vocab_size=WORDS.vocab_size + WORDS.vocab_size % 2)


def setting(model, recipe, **changes):
    score = combine.WeightedRewards({"a": (1.0, lambda one: one.completion.count("a") / 6)})
    adam = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(5e-2)))
    given = {"rewards": pool.RewardPool(score, workers=0, timeout_s=1.0), "optimizer": adam, "group_size": 4}
    return parts(model, recipe=recipe, **(given | changes))


# its lists are of the whole group; how pairs are chosen is held in `losses/test_pairing.py`
@pytest.mark.parametrize("recipe", sparing.some(RECIPES, "ranked"))
def test_rewards_rise(tmp_path, model, recipe):
    moving = reference.Moving(1.0, every=4) if recipe in (RECIPES["SPPO"], RECIPES["win rates"]) else None
    made = setting(model, recipe, moving=moving)
    online.run_online(made, run.Plan(tmp_path, steps=16), model.init(jax.random.key(0)))
    rewards = [line["reward"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    assert np.mean(rewards[-4:]) > np.mean(rewards[:4]) + 0.05


def test_a_judge_alone_says_which_is_better(tmp_path, model):
    narrow = dataclasses.replace(model.config, hidden_size=8)  # as wide as a bigram's states are
    head = scalar_model.ScalarModel(dataclasses.replace(model, config=narrow))
    judge = judging.Judge(head, (head.init(jax.random.key(1), spread=1.0),), WORDS, ensemble.mean)
    made = dataclasses.replace(setting(model, RECIPES["best and worst"]), rewards=None, judge=judge)
    online.run_online(made, run.Plan(tmp_path, steps=16), model.init(jax.random.key(0)))
    rewards = [line["reward"] for line in metrics.read(tmp_path / "metrics.jsonl")]
    assert np.mean(rewards[-4:]) > np.mean(rewards[:4]) + 0.05
