"""Limits, several objectives and other weights of prompts in the online loop: each moves the policy as it claims to."""

import math

import jax
import numpy as np
import playing
import pytest
import sparing

from posttrain_jax.losses import generator, limit, maxmin, multiplier, target
from posttrain_jax.recipes.policy import (
    c_morl,
    constrained,
    dr_irl,
    fdpg,
    gdpo,
    grpo,
    kl_limited,
    occupancy_regularized,
    rloo,
)
from posttrain_jax.recipes.policy import maxmin as of_the_worst
from posttrain_jax.rewards import agreement, extract, route
from posttrain_jax.train import metrics, online, optimizer, run

PLAIN = rloo.RLOO(kl_coef=0.0)
ADAM = optimizer.make_optimizer(optimizer.AdamW(optimizer.Constant(5e-2)))
LION = optimizer.make_optimizer(optimizer.Lion(optimizer.Constant(2e-2), weight_decay=0.01))


@pytest.fixture(scope="module")
def model(tiny):
    return tiny.bigram(vocab_size=playing.WORDS.vocab_size + playing.WORDS.vocab_size % 2)


@pytest.fixture(scope="module")
def start(model):
    return model.init(jax.random.key(0))


def share(letter):
    return lambda one: one.completion.count(letter) / 3


def learn(folder, model, start, recipe, *, a=1.0, b=0.0, adam=ADAM, steps=14, **more):
    """Shares of two letters step by step, weighed as told, and all that was reported."""
    terms = {"a": (a, share("a")), "b": (b, share("b"))} | more
    parts = playing.parts(model, recipe, terms, optimizer=adam, group_size=8)
    online.run_online(parts, run.Plan(folder, steps=steps), start)
    lines = metrics.read(folder / "metrics.jsonl")
    assert all(np.isfinite(line["loss"]) for line in lines)
    return lines


def gained(lines, name):
    values = [line[name] for line in lines]
    return np.mean(values[-3:]) - np.mean(values[:3])


RULES = (
    multiplier.DualAscent(3.0),
    multiplier.LogDualAscent(3.0),
    multiplier.Augmented(3.0),
    multiplier.Equality(3.0),
    multiplier.Hinge(5.0),
    multiplier.Barrier(2.0),
)
RULES = {type(rule).__name__: rule for rule in RULES}


# rules differ in one function of a multiplier, held by hand in `losses/test_multiplier.py`; the loop is the same
@pytest.mark.parametrize("rule", sparing.some(RULES, "DualAscent"))
def test_every_rule_brings_a_reward_of_weight_0_towards_its_limit(tmp_path, model, start, rule):
    recipe = constrained.Constrained((limit.AtLeast("b", 0.6),), rule, PLAIN)
    lines = learn(tmp_path, model, start, recipe, a=0.1)
    assert gained(lines, "reward/b") > 0.15
    moved = np.ptp([line["multiplier/b>=0.6"] for line in lines])
    assert (moved > 0) == (not isinstance(rule, multiplier.Hinge | multiplier.Barrier))


def test_without_a_limit_it_does_not_move(tmp_path, model, start):
    assert gained(learn(tmp_path, model, start, PLAIN), "reward/b") < 0.05


@pytest.mark.slow
def test_c_morl_raises_one_objective_and_holds_the_other(tmp_path, model, start):
    recipe = c_morl.extend(PLAIN, "a", {"a": 0.1, "b": 0.15})
    lines = learn(tmp_path, model, start, recipe, a=0.5, b=0.5, steps=20)
    assert gained(lines, "reward/a") > 0.1
    assert np.mean([line["reward/b"] for line in lines[-3:]]) > 0.1


def test_a_limit_on_the_divergence_presses_when_it_is_passed(tmp_path, model, start):
    lines = learn(tmp_path, model, start, kl_limited.KLLimited(0.01, multiplier.DualAscent(5.0), PLAIN))
    assert lines[-1]["multiplier"] > lines[1]["multiplier"] == 0
    moved = [line["kl"] for line in lines]
    assert np.mean(moved[-3:]) < 0.05 < 0.1 < np.max(moved)


OBJECTIVES = {
    "batch": of_the_worst.MaxMin(("a", "b"), recipe=PLAIN),
    "each": of_the_worst.MaxMin(("a", "b"), maxmin.WorstOfEach(), PLAIN),
    "weighted": of_the_worst.MaxMin(("a", "b"), maxmin.Weighted(2.0), PLAIN),
    "sum_then_norm": grpo.GRPO(kl_coef=0.0),
    "norm_then_sum": gdpo.GDPO((("a", 0.5), ("b", 0.5)), recipe=grpo.GRPO(kl_coef=0.0)),
}


@pytest.mark.parametrize("name", sparing.names(OBJECTIVES, "each"))
def test_several_objectives_rise_together(tmp_path, model, start, name):
    lines = learn(tmp_path, model, start, OBJECTIVES[name], a=0.5, b=0.5, steps=20)
    assert gained(lines, "reward/a") > 0.1
    assert gained(lines, "reward/b") > -0.05


TARGETS = {
    "f_dpg": fdpg.FDPG(target.Tilted(0.1)),
    "gdc": fdpg.FDPG(target.Satisfied(0.1), generator.ForwardKL()),
    "occupancy": occupancy_regularized.OccupancyRegularized(0.01),
}


@pytest.mark.parametrize("name", sparing.names(TARGETS, "gdc"))
def test_a_target_near_the_reference_is_approached(tmp_path, model, start, name):
    lines = learn(tmp_path, model, start, TARGETS[name], steps=20)
    assert gained(lines, "reward/a") > 0.1


@pytest.mark.slow
def test_prompts_weigh_by_how_hard_they_are(tmp_path, model, start):
    beside = {
        "similarity": (0.0, lambda one: float("a" in one.prompt)),
        "gap": (0.0, lambda one: 0.1 * one.completion.count("a")),
        "category": (0.0, lambda one: float("b" in one.prompt)),
    }
    recipe = dr_irl.DRIRL(width=1.0, recipe=grpo.GRPO(kl_coef=0.0))
    assert gained(learn(tmp_path, model, start, recipe, **beside), "reward/a") > 0.1


@pytest.mark.slow
def test_lion_learns(tmp_path, model, start):
    assert gained(learn(tmp_path, model, start, grpo.GRPO(kl_coef=0.0), adam=LION), "reward/a") > 0.1


def alphabet(text):
    return [float(ord(x)) for x in text]


def test_one_policy_judges_and_answers(tmp_path, model, start):
    """URPO: some prompts want letters a, others scores of three candidates, the first of them the best."""
    ranks = agreement.RankAgreement(extract=extract.whole, read=alphabet)
    routed = route.Routed("task", {"answer": share("a"), "judge": ranks})
    kinds = {"a": "answer", "b": "judge"}  # the model sees the last letter alone
    rows = [{"prompt": one + last, "task": kinds[last], "gold": [3, 2, 1]} for one in "abcd" for last in kinds]
    of_kind = lambda kind: lambda one: routed(one) if one.example["task"] == kind else math.nan  # noqa: E731
    terms = {"all": (1.0, routed)} | {kind: (0.0, of_kind(kind)) for kind in ("answer", "judge")}
    parts = playing.parts(model, grpo.GRPO(kl_coef=0.0), terms, rows, optimizer=ADAM, group_size=8)
    online.run_online(parts, run.Plan(tmp_path, steps=25), start)
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert gained(lines, "reward/judge") > 0.3
    assert gained(lines, "reward/answer") > 0.1
