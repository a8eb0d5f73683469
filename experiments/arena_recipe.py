"""The recipes of `policy_arena`; docs/policy_arena.md says which are left out, and why.

Recipes are as they are by default. Those that must be given another recipe hold GRPO without a divergence.
"""

import dataclasses
import math
from typing import Any

import arena_rollout
import digit_task
import numpy as np

import posttrain_jax as pt
from posttrain_jax.losses import (
    contest,
    controller,
    difficulty,
    limit,
    multiplier,
    pairwise,
    returns,
    schedule,
    score,
    target,
)
from posttrain_jax.recipes.policy import c_morl
from posttrain_jax.rollout import budget, curriculum, priority, replay, selection

HELD = pt.GRPO(kl_coef=0.0)
RIGHT, PARTS = "right", "tokens right"
EACH = pt.Segmented(pt.GiGPO(), tuple(range(digit_task.WORDS)), digit_task.LENGTH)
ONCE = [pt.REINFORCE(baseline=0.2), pt.RLOO(), pt.RLOO(kl_coef=0.0), pt.GPG(), pt.OPO(), pt.PassAtK(), pt.PKPO(k=4)]
ONCE += [pt.GTPO(limit=math.inf), pt.ReMax(), pt.ReMax(kl_coef=0.0), pt.FDPG(target.Tilted(0.2))]
ONCE += [pt.OccupancyRegularized(0.01), pt.SPO(preference=contest.hard), pt.GRAO(), HELD]
OFTEN = [HELD, pt.GRPO(), pt.REINFORCEPlusPlus(), pt.REINFORCEPlusPlusBaseline(), pt.DrGRPO(digit_task.LENGTH)]
OFTEN += [pt.DAPO(), pt.TwoSidedGRPO(), pt.ForkingTokens(), pt.GSPO(), pt.GSPOToken(), pt.LUSPO(), pt.VESPO()]
OFTEN += [pt.CISPO(), pt.ScaleRL(), pt.GMPO(), pt.SAPO(), pt.LitePPO(), pt.GRPOLEAD(), pt.DisCO(), pt.TOPR()]
OFTEN += [pt.DisCO(score.likelihood_ratio, tau=1.0), pt.AsymRE(), pt.REC(), pt.REDWeight(), pt.REDDrop(), pt.OPMD()]
OFTEN += [pt.Unlikeliness(), pt.Filtered(HELD), pt.BGPO(), pt.THR(), pt.NTHR(), pt.TWGRPO()]
OFTEN += [pt.Constrained((limit.AtLeast("ended", 0.99),), multiplier.DualAscent(1.0))]
OFTEN += [pt.MaxMin((RIGHT, PARTS), recipe=HELD), pt.Filtered(HELD, difficulty.Band(0.0, 0.8))]
OFTEN += [pt.VAPO(pt.PPO(clip_high=0.28, kl_coef=0.0, critic_trace=returns.Constant(1.0)))]
OFTEN += [pt.KLLimited(0.5), pt.AdaptiveKL(HELD, 0.05, controller.Proportional(1.5)), pt.AdaptiveEntropy(HELD, 0.3)]
OFTEN += [pt.BranchGRPO((0, 1, 2)), pt.ClipCov(), pt.KLCov(), pt.PPO(), pt.PPO(kl_coef=0.0), pt.VAPO(), pt.RegGRPO()]
OFTEN += [pt.DCPO(digit_task.TASKS * 1000), pt.GiGPO(), EACH, pt.SALT(), pt.HRPO(), pt.RankGRPO(), pt.APO(), pt.ARES(1)]
OFTEN += [pt.GRPOD(schedule.Valley(0.0, 0.04, 50, 100)), pt.P3O(kl_coef=0.0), pt.P3O(pairwise.Separate(), 0.0)]
OFTEN += [pt.GeometricReference(pt.GRPO(), "dpo", 0.5), pt.WithGiven(HELD), pt.Unrepetitive(HELD, size=2)]
OFTEN += [pt.RTO(), pt.Reweighted(((RIGHT, 1.0), (PARTS, schedule.Linear(0.5, 0.0, 50))), HELD)]
OFTEN += [pt.GCPO("one word", RIGHT, recipe=HELD), pt.DRIRL(0.1, PARTS, "wrong", "kind", HELD)]
OFTEN += [c_morl.extend(HELD, RIGHT, {RIGHT: 0.085, "ended": 0.9, PARTS: 0.3})]
OFTEN += [pt.Handover(PARTS, RIGHT, schedule.Cosine(0.9, 0.1, 100), HELD), pt.TIS(HELD), pt.MIS(HELD), pt.OPSM(HELD)]
OFTEN += [pt.Handover(PARTS, RIGHT, schedule.Linear(0.3, 0.3, 1), HELD), pt.GDPO(((RIGHT, 1.0), (PARTS, 0.5)))]
Entry = arena_rollout.Entry
EASY_FIRST = curriculum.EasyFirst(np.repeat(-digit_task.SHARES, 30), steps=50, start=0.1)
CHOSEN = (priority.VarianceAware(), budget.Knapsack(4), curriculum.Unsolved(), EASY_FIRST)
ENTRIES = [Entry(pt.DAPO(), selection=selection.Refill(difficulty.Spread(0.0)))]  # what takes longest begins
ENTRIES += [Entry(HELD, selection=x) for x in CHOSEN]
ENTRIES += [Entry(pt.TIS(HELD), selection=replay.Replay(difficulty.Spread(0.0), capacity=32, max_age=4))]
ENTRIES += [Entry(x, 1) for x in ONCE] + [Entry(x) for x in OFTEN]
ENTRIES += [Entry(x, critic=20) for x in (pt.PPO(kl_coef=0.0), pt.VAPO())]


def title(x: Any) -> str:
    """A recipe's name, and its fields that are not as they are by default."""
    if not dataclasses.is_dataclass(x):
        return x.__name__ if callable(x) else str(x)
    own = [(f, vars(x)[f.name]) for f in dataclasses.fields(x)]
    told = [("" if f.default is dataclasses.MISSING else f.name + "=") + title(v) for f, v in own if v != f.default]
    return type(x).__name__ + (f"({', '.join(told)})" if told else "")
