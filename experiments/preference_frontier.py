"""Every pairwise recipe from one start on one problem whose optimum is known: reward against divergence.

python experiments/preference_frontier.py
"""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import tyro

matplotlib.use("Agg")
import enumerable  # noqa: E402
from matplotlib import pyplot  # noqa: E402

import posttrain_jax as pt  # noqa: E402
from posttrain_jax.losses import divergence_score, tilting  # noqa: E402

RECIPES = [pt.DPO(), pt.RobustDPO(label_noise=0.2), pt.DPO(label_noise=0.2), pt.IPO(), pt.HingeDPO(), pt.SLiCHF()]
RECIPES += [pt.SimPO(), pt.CPO(), pt.ORPO(), pt.AlphaPO(), pt.ChiPO(), pt.EXO(), pt.NCA(), pt.DPOP(), pt.BCOPair()]
RECIPES += [pt.AnchoredPOZero(), pt.AnchoredPODown(), pt.DiscoPOP(), pt.NLLRegularizedDPO(), pt.ReferenceClippedDPO()]
RECIPES += [pt.FDPO(divergence_score.JensenShannon()), pt.SPPO(), pt.AOTPaired(), pt.AOTUnpaired(), pt.BetaDPO()]
RECIPES += [pt.OffsetDPO()]


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
        size = {"steps": config.steps, "rows": config.rows, "rate": config.learning_rate}
        policy = jax.nn.log_softmax(enumerable.train(recipe, given, data, keys[2], **size))
        kl = tilting.divergence(policy, given.ref_log_probs).mean(-1)
        most = tilting.frontier(given.ref_log_probs, given.rewards, jnp.logspace(2, -2, 200))
        start = tilting.expected(given.ref_log_probs, given.rewards).mean()
        return jnp.stack([kl, tilting.expected(policy, given.rewards).mean(-1) - start, jnp.interp(kl, *most) - start])

    keys = jax.random.split(jax.random.key(0), config.seeds)
    both = jax.vmap(jax.vmap(one, (0, None)), (None, 0))(keys, jnp.array([0.0, config.noise]))
    return np.asarray(both.mean(1))


def unit(recipe):
    """The recipe with beta 1, which suits rewards of deviation 1, where it has a beta."""
    with_beta = any(field.name == "beta" for field in dataclasses.fields(recipe))
    return dataclasses.replace(recipe, beta=1.0) if with_beta else recipe


def title(recipe) -> str:
    """Its name, and the noise it is told of."""
    noise = vars(recipe).get("label_noise", 0.0)
    return type(recipe).__name__ + (f", label_noise={noise}" if noise > 0.01 else "")


def draw(paths: dict[str, np.ndarray], config: Config) -> None:
    """Paths from the start, each end with its number, under the frontier."""
    figure, panels = pyplot.subplots(1, 2, figsize=(12, 5), sharey=True, layout="constrained")
    most = np.concatenate([path[:, 1:] for path in paths.values()], axis=2)
    kls = np.concatenate([path[:, 0] for path in paths.values()], axis=1)
    for kind, (axes, words) in enumerate(zip(panels, ("clean", f"{config.noise:.0%} swapped"), strict=True)):
        order = np.argsort(kls[kind])
        axes.plot(kls[kind][order], most[kind, 1][order], "k")
        for number, path in enumerate(paths.values(), 1):
            axes.plot(*path[kind, :2], linewidth=0.6, alpha=0.6)
            axes.text(path[kind, 0, -1], path[kind, 1, -1], str(number), fontsize=8)
        axes.set(xlabel="KL to the reference (nats)", ylabel="reward above the reference", title=f"{words} pairs")
    figure.savefig(config.folder / "preference_frontier.png", dpi=110)


def main(config: Config) -> None:
    """Train, draw, write the table."""
    config.folder.mkdir(parents=True, exist_ok=True)
    paths = {title(recipe): curves(unit(recipe), config) for recipe in RECIPES}
    draw(paths, config)
    lines = ["| | recipe | KL | reward | of the most | KL, noisy | reward, noisy | of the most |", "|---" * 8 + "|"]
    for number, (name, path) in enumerate(paths.items(), 1):
        cells = [f"{kl:.2f} | {reward:.3f} | {reward / most:.0%}" for kl, reward, most in path[:, :, -1]]
        lines.append(f"| {number} | {name} | {' | '.join(cells)} |")
    (config.folder / "preference_frontier.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main(tyro.cli(Config))
