"""Every pairwise recipe from one start on one problem whose optimum is known: reward against divergence.

python experiments/preference_frontier.py
"""

import dataclasses
import pathlib

import enumerable
import frontier_chart
import jax
import jax.numpy as jnp
import numpy as np
import tyro

import posttrain_jax as pt
from posttrain_jax.losses import generator, tilting

RECIPES = [pt.DPO(), pt.RobustDPO(label_noise=0.2), pt.DPO(label_noise=0.2), pt.IPO(), pt.HingeDPO(), pt.SLiCHF()]
RECIPES += [pt.SimPO(), pt.CPO(), pt.ORPO(), pt.AlphaPO(), pt.ChiPO(), pt.EXO(), pt.NCA(), pt.DPOP(), pt.BCOPair()]
RECIPES += [pt.AnchoredPOZero(), pt.AnchoredPODown(), pt.DiscoPOP(), pt.NLLRegularizedDPO(), pt.ReferenceClippedDPO()]
RECIPES += [pt.FDPO(generator.jensen_shannon()), pt.SPPO(), pt.AOTPaired(), pt.AOTUnpaired()]
RECIPES += [pt.BetaDPO(), pt.OffsetDPO(), pt.LCPO(pt.DPO(beta=1.0))]


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


def curves(recipe, config: Config) -> np.ndarray:
    """Divergence, reward and the most reward at that divergence: [clean or noisy, 3, steps], means over seeds."""

    def one(key, noise):
        keys = jax.random.split(key, 3)
        given = enumerable.problem(keys[0], config.prompts, config.responses)
        data = enumerable.pairs(given, keys[1], config.pairs, noise)
        rate, rows, steps = config.learning_rate, config.rows, config.steps
        policy = jax.nn.log_softmax(enumerable.train(recipe, given, data, keys[2], steps=steps, rows=rows, rate=rate))
        kl = tilting.divergence(policy, given.ref_log_probs).mean(-1)
        most = tilting.frontier(given.ref_log_probs, given.rewards, jnp.logspace(2, -2, 200))
        start = tilting.expected(given.ref_log_probs, given.rewards).mean()
        return jnp.stack([kl, tilting.expected(policy, given.rewards).mean(-1) - start, jnp.interp(kl, *most) - start])

    both = jax.vmap(jax.vmap(one, (0, None)), (None, 0))
    keys = jax.random.split(jax.random.key(0), config.seeds)
    return np.asarray(both(keys, jnp.array([0.0, config.noise])).mean(1))


def unit(recipe):
    """The recipe with beta 1, which suits rewards of deviation 1, where it has one; f-DPO 2: its JS is twice ours."""
    return dataclasses.replace(recipe, beta=1.0 + isinstance(recipe, pt.FDPO)) if "beta" in vars(recipe) else recipe


def title(recipe) -> str:
    """Its name, and the noise it is told of."""
    noise = vars(recipe).get("label_noise", 0.0)
    return type(recipe).__name__ + (f", label_noise={noise}" if noise > 0.01 else "")


def main(config: Config) -> None:
    """Train, draw, write the table of the ends."""
    config.folder.mkdir(parents=True, exist_ok=True)
    paths = {title(recipe): curves(unit(recipe), config) for recipe in RECIPES}
    titles = "clean pairs", f"{config.noise:.0%} of the pairs swapped"
    frontier_chart.draw(paths, titles).savefig(config.folder / "preference_frontier.png", dpi=110)
    (config.folder / "preference_frontier.md").write_text(frontier_chart.table(paths), encoding="utf-8")
    print(frontier_chart.table(paths), end="")


if __name__ == "__main__":
    main(tyro.cli(Config))
