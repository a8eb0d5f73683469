"""On a game whose three responses beat each other in a circle: where each method's policies go, and how near they come.

python experiments/nash_game.py

Two minutes on two cores; the table and the picture of docs/nash_game.md.
"""

import dataclasses
import pathlib

import game_chart
import game_method
import jax
import numpy as np
import two_players
from game_method import Method

import posttrain_jax as pt
from posttrain_jax.losses import contest, game, pairing, pairwise
from posttrain_jax.train import command

BETA = 0.1
SELF = (("policy", 1.0),)
PAST = (("ref", 20),)
MIXED = (("policy", 0.875), ("ref", 0.125))
NEARLY_SELF = (("policy", 63 / 64), ("ref", 1 / 64))
PROX = {"opponent": (("half", 1.0),), "versions": (("target", 40), ("half", 20))}
KL = BETA * 8 / 7  # a baseline of the others' win rates counts each comparison 8/7 times in groups of 8
REGULARISED = {
    "OnlineIPO1": Method(pt.OnlineIPO1(BETA), 0.0375, SELF, uniform=True),
    "OnlineIPO2": Method(pt.OnlineIPO2(BETA), 0.0375),
    "EGPO": Method(pt.OnlineIPO1(BETA), 0.0375, (("ahead", 1.0),), uniform=True, looks_ahead=True),
    "NashMD": Method(pt.NashMD(BETA), 1.0, MIXED),
    "NashMD, 1/64": Method(pt.NashMD(BETA), 1.0, NEARLY_SELF),
    "NashMD, self-play": Method(pt.NashMD(BETA), 1.0, SELF),
    "NashMP": Method(pt.NashMP(BETA, eta=0.2), 1.0, **PROX),
    "SPO with KL": Method(pt.SPO(pt.RLOO(KL)), 1.0),
    "P3O, PPG": Method(pt.SPO(pt.P3O(pairwise.unclipped, KL)), 1.0, updates=4),
    "P3O, V1": Method(pt.SPO(pt.P3O(pairwise.Separate(0.02), KL)), 1.0, updates=4),
    "P3O, V2": Method(pt.SPO(pt.P3O(pairwise.Joint(0.02, clip_is=0.02), KL)), 1.0, updates=4),
}
UNREGULARISED = {
    "SPO": Method(pt.SPO(), 0.5),
    "SPPO": Method(pt.OnlinePreference(pt.SPPO(2.0), pairing.AllPairs(), contest.judged), 0.3, versions=PAST),
    "DNO": Method(pt.OnlinePreference(pt.DNO(2.0), pairing.AllPairs(), contest.judged), 0.6, versions=PAST),
}
SCORED = {"GPO": Method(pt.OnlinePreference(pt.GPO(2.0, tau=0.4), pairing.ranked, contest.judged), 0.3, versions=PAST)}


@dataclasses.dataclass(frozen=True)
class Config:
    """The sampling and the training."""

    folder: pathlib.Path = pathlib.Path("runs/nash_game")
    steps: int = 2000
    rows: int = 512
    group: int = 8


def main(config: Config) -> None:
    """Train, draw, write the table of the ends."""
    config.folder.mkdir(parents=True, exist_ok=True)
    nash = game.equilibrium(game_method.P, game_method.REF, beta=BETA)
    goals = dict.fromkeys(REGULARISED, nash) | dict.fromkeys(UNREGULARISED, np.log([0.3, 0.3, 0.4]))
    goals |= dict.fromkeys(SCORED, np.log(np.log([4, 4, 9]) / np.log(4 * 4 * 9)))
    sizes, paths = {"steps": config.steps, "rows": config.rows, "group": config.group}, {}
    for name, method in (REGULARISED | UNREGULARISED | SCORED).items():
        found = two_players.train(method, jax.random.key(0), **sizes)
        paths[name] = game_chart.Path(np.asarray(found), np.asarray(goals[name]))
    game_chart.draw(paths, len(REGULARISED)).savefig(config.folder / "nash_game.png", dpi=110)
    (config.folder / "nash_game.md").write_text(game_chart.table(paths, BETA), encoding="utf-8")
    print(game_chart.table(paths, BETA), end="")


if __name__ == "__main__":
    command.alone(main, Config)
