"""On a game whose three responses beat each other in a circle: where each method's policies go, and how near they come.

python experiments/nash_game.py

A few minutes on two cores; the table and the picture of docs/nash_game.md.
"""

import dataclasses
import pathlib

import game_chart
import game_table
import jax
import numpy as np
import two_players

from posttrain_jax.train import command


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
    sizes, paths = {"steps": config.steps, "rows": config.rows, "group": config.group}, {}
    for name, (method, goal) in (game_table.POLICIES | game_table.AVERAGES).items():
        found = two_players.train(method, jax.random.key(0), **sizes)
        paths[name] = game_chart.Path(np.asarray(found), goal)
    game_chart.draw(paths, len(game_table.POLICIES)).savefig(config.folder / "nash_game.png", dpi=110)
    (config.folder / "nash_game.md").write_text(game_chart.table(paths, game_table.BETA), encoding="utf-8")
    print(game_chart.table(paths, game_table.BETA), end="")


if __name__ == "__main__":
    command.alone(main, Config)
