"""All methods of `nash_game`, what they claim to come to, and whether the policy does or the average of policies."""

import numpy as np
from game_method import REF, Method, P

import posttrain_jax as pt
from posttrain_jax.losses import contest, game, pairing, pairwise
from posttrain_jax.train import reference

BETA = 0.1
KL = BETA * 8 / 7  # a baseline of the others' win rates counts each comparison 8/7 times in groups of 8
NASH = np.asarray(game.equilibrium(P, REF, beta=BETA))
BEST = np.asarray(game.best_response(P, REF, REF, beta=BETA))
WINNER = np.log([0.3, 0.3, 0.4])
SCORED_WINNER = np.log(np.log([4, 4, 9]) / np.log(4 * 4 * 9))
SELF = (("policy", 1.0),)


def following(role: str, *, share: float = 1.0, every: int = 1) -> tuple[tuple[str, reference.Moving], ...]:
    """A role that follows the policy: as it was some steps ago, or its average."""
    return ((role, reference.Moving(share, every=every)),)


PROX = following("target", every=40) + following("half", every=20)
ITERATES, PAST, MEAN = following("ref", every=5), following("past", every=20), following("average", share=0.05)


def mixed(share: float) -> tuple[tuple[str, float], ...]:
    """The policy, and this share of the reference in the exponent."""
    return (("policy", 1 - share), ("ref", share))


POLICIES = {
    "OnlineIPO1": (Method(pt.OnlineIPO1(BETA), 0.0375, SELF, uniform=True), NASH),
    "OnlineIPO2": (Method(pt.OnlineIPO2(BETA), 0.0375), NASH),
    "EGPO": (Method(pt.OnlineIPO1(BETA), 0.0375, (("ahead", 1.0),), uniform=True, looks_ahead=True), NASH),
    "NashMD": (Method(pt.NashMD(BETA), 1.0, mixed(1 / 8)), NASH),
    "NashMD, 1/64": (Method(pt.NashMD(BETA), 1.0, mixed(1 / 64)), NASH),
    "NashMD, self-play": (Method(pt.NashMD(BETA), 1.0, SELF), NASH),
    "NashMD, iterate before": (Method(pt.NashMD(BETA), 1.0, (("past", 1.0),), PAST), NASH),
    "NashMD, average (EMA)": (Method(pt.NashMD(BETA), 1.0, (("average", 1.0),), MEAN), NASH),
    "NashMD, frozen": (Method(pt.NashMD(BETA), 1.0, (("ref", 1.0),)), BEST),
    "NashMP": (Method(pt.NashMP(BETA, eta=0.2), 1.0, (("half", 1.0),), PROX), NASH),
    "SPO with KL": (Method(pt.SPO(pt.RLOO(KL)), 1.0), NASH),
    "P3O, PPG": (Method(pt.SPO(pt.P3O(pairwise.unclipped, KL)), 1.0, updates=4), NASH),
    "P3O, V1": (Method(pt.SPO(pt.P3O(pairwise.Separate(0.02), KL)), 1.0, updates=4), NASH),
    "P3O, V2": (Method(pt.SPO(pt.P3O(pairwise.Joint(0.02, clip_is=0.02), KL)), 1.0, updates=4), NASH),
    "SPO, ref iterate before": (Method(pt.SPO(pt.RLOO(KL)), 1.0, versions=following("ref", every=200)), WINNER),
    "SPO, ref average (EMA)": (Method(pt.SPO(pt.RLOO(KL)), 1.0, versions=following("ref", share=0.02)), WINNER),
}
"""Their last policy comes to the goal."""

AVERAGES = {
    "SPO": (Method(pt.SPO(), 0.5), WINNER),
    "SPPO": (
        Method(pt.OnlinePreference(pt.SPPO(2.0), pairing.AllPairs(), contest.judged), 0.3, versions=ITERATES),
        WINNER,
    ),
    "DNO": (
        Method(pt.OnlinePreference(pt.DNO(2.0), pairing.AllPairs(), contest.judged), 0.6, versions=ITERATES),
        WINNER,
    ),
    "GPO": (
        Method(pt.OnlinePreference(pt.GPO(2.0, tau=0.4), pairing.ranked, contest.judged), 0.3, versions=ITERATES),
        SCORED_WINNER,
    ),
}
"""The average of their policies does."""
