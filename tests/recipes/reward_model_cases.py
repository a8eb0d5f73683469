"""Recipes of reward models of the battery: one line each. `scores` is how many numbers the model says of a token."""

import cases

import posttrain_jax as pt
from posttrain_jax.losses import mixture

CASES = {
    "bradley_terry": cases.Case(pt.BradleyTerry(centre_coef=0.01, margin=0.5), cases.offline, group_size=2, scores=1),
    "bradley_terry_ensemble": cases.Case(pt.BradleyTerry(norm_coef=0.1), cases.offline, group_size=2, scores=3),
    "graded_bradley_terry": cases.Case(pt.GradedBradleyTerry(), cases.informed, group_size=2, scores=1),
    "soft_bradley_terry": cases.Case(pt.SoftBradleyTerry(), cases.informed, group_size=2, scores=2),
    "margin_regression": cases.Case(pt.MarginRegression(), cases.informed, group_size=2, scores=1),
    "all_pairs": cases.Case(pt.AllPairs(), cases.offline, scores=1),
    "plackett_luce": cases.Case(pt.PlackettLuce(), cases.offline, scores=1),
    "plackett_luce_top": cases.Case(pt.PlackettLuce(top=2), cases.offline, scores=1),
    "attribute_regression": cases.Case(pt.AttributeRegression(), cases.informed, scores=3),
    "gated_bradley_terry": cases.Case(pt.GatedBradleyTerry(), cases.offline, group_size=2, scores=4, gates=4),
    "pairwise_preference": cases.Case(pt.PairwisePreference(), cases.offline, group_size=2, scores=1),
    "generative_preference": cases.Case(pt.GenerativePreference(), cases.offline, group_size=2),
    "general_preference": cases.Case(
        pt.GeneralPreference(width=32, temperature=1.0), cases.offline, group_size=2, scores=4, gates=2
    ),
    "mixture_bradley_terry": cases.Case(
        pt.MixtureBradleyTerry(people=2, groups=2, round_steps=1), cases.informed, group_size=2, scores=2
    ),
    "soft_mixture_bradley_terry": cases.Case(
        pt.MixtureBradleyTerry(people=3, groups=2, round_steps=3, respond=mixture.soft),
        cases.informed,
        group_size=2,
        scores=2,
    ),
    "process_reward": cases.Case(pt.ProcessReward(), cases.informed, scores=1),
}
