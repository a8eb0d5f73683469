"""Every recipe of given preferences from one start on one problem whose optimum is known: reward against divergence.

python experiments/preference_frontier.py
"""

import dataclasses
import pathlib

import enumerable
import frontier_chart
import jax
import jax.numpy as jnp
import numpy as np
import preference_setting
import preference_training

from posttrain_jax.losses import tilting
from posttrain_jax.train import command


@dataclasses.dataclass(frozen=True)
class Config:
    """The problem and the training."""

    folder: pathlib.Path = pathlib.Path("runs/preference_frontier")
    prompts: int = 16
    responses: int = 8
    pairs: int = 32768
    noise: float = 0.2
    """Odds of a pair being the wrong way round in the noisy data."""
    steps: int = 1000
    rows: int = 256
    learning_rate: float = 0.03
    seeds: int = 4


def curves(setting: preference_setting.Setting, config: Config) -> np.ndarray:
    """Divergence, reward and the most reward at that divergence: [clean or noisy, 3, steps], means over seeds."""

    def one(key, noise):
        keys = jax.random.split(key, 3)
        given = enumerable.problem(keys[0], config.prompts, config.responses)
        data = enumerable.rankings(given, keys[1], config.pairs, noise, setting.size)
        rate, rows, steps = config.learning_rate, config.rows, config.steps
        policy = jax.nn.log_softmax(
            preference_training.train(setting, given, data, keys[2], steps=steps, rows=rows, rate=rate)
        )
        kl = tilting.divergence(policy, given.ref_log_probs).mean(-1)
        most = tilting.frontier(given.ref_log_probs, given.rewards, jnp.logspace(2, -2, 200))
        start = tilting.expected(given.ref_log_probs, given.rewards).mean()
        return jnp.stack([kl, tilting.expected(policy, given.rewards).mean(-1) - start, jnp.interp(kl, *most) - start])

    both = jax.vmap(jax.vmap(one, (0, None)), (None, 0))
    keys = jax.random.split(jax.random.key(0), config.seeds)
    return np.asarray(both(keys, jnp.array([0.0, config.noise])).mean(1))


def main(config: Config) -> None:
    """Train, draw, write the table of the ends."""
    config.folder.mkdir(parents=True, exist_ok=True)
    settings = preference_setting.SETTINGS
    paths = {
        preference_setting.title(setting): curves(preference_setting.unit(setting), config) for setting in settings
    }
    titles = "clean pairs", f"{config.noise:.0%} of the pairs swapped"
    frontier_chart.draw(paths, titles).savefig(config.folder / "preference_frontier.png", dpi=110)
    (config.folder / "preference_frontier.md").write_text(frontier_chart.table(paths), encoding="utf-8")
    print(frontier_chart.table(paths), end="")


if __name__ == "__main__":
    command.alone(main, Config)
