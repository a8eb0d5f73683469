"""C-MORL in its two stages, on responses that can be listed, beside the true Pareto front (Liu et al., 2410.02236).

python experiments/c_morl.py

Stage 1 trains a policy for each of a few fixed weights of two objectives. Stage 2 extends their front, round by round:
of the unbeaten policies it takes those that lie loneliest, and from each makes more of either objective while the other
must keep 90 % (`c_morl.extend`, a logarithmic barrier).
"""

import dataclasses
import functools
import pathlib

import front_chart
import jax
import jax.numpy as jnp
import numpy as np
import objective_training
import objectives

from posttrain_jax import RLOO
from posttrain_jax.losses import front
from posttrain_jax.recipes.policy import c_morl
from posttrain_jax.train import command


@dataclasses.dataclass(frozen=True)
class Config:
    """The problem and the training."""

    folder: pathlib.Path = pathlib.Path("runs/c_morl")
    prompts: int = 16
    responses: int = 8
    weights: int = 3
    """Policies of stage 1: weights (0, 1), ..., (1, 0)."""
    rounds: int = 3
    picked: int = 3
    """Policies that are extended in a round."""
    steps: int = 500
    kl_coef: float = 0.02
    """Of the divergence from even policies, in both stages: one that is sure of itself can not be extended."""
    seed: int = 0


def main(c: Config) -> None:
    """Both stages, the picture, the table."""
    keys = iter(jax.random.split(jax.random.key(c.seed), 1 + c.weights + 2 * c.rounds * c.picked))
    rewards, recipe = objectives.rewards_of(next(keys), c.prompts, c.responses), RLOO(c.kl_coef)
    measure = functools.partial(objectives.means, rewards=rewards)
    even = jnp.zeros((c.prompts, c.responses))
    shares = [jnp.array([w, 1 - w]) for w in np.linspace(0, 1, c.weights, dtype=np.float32)]
    learn = functools.partial(objective_training.train, rewards=rewards, steps=c.steps)
    policies = [learn(recipe, share, even, key=next(keys)) for share in shares]
    stages = [jnp.stack([measure(one) for one in policies])]
    for _ in range(c.rounds):
        points = stages[-1]
        alive = np.flatnonzero(front.unbeaten(points))
        lonely = alive[np.argsort(-front.crowding(points[alive]), stable=True)][: c.picked]
        for number in lonely:
            starts = {str(k): float(x) for k, x in enumerate(points[number])}
            for objective in starts:
                more = c_morl.extend(recipe, objective, starts)
                policies.append(learn(more, jnp.ones(2), policies[number], key=next(keys)))
        stages.append(jnp.stack([measure(one) for one in policies]))
    c.folder.mkdir(parents=True, exist_ok=True)
    fronts = [objectives.true_front(rewards, coef) for coef in (0.0, c.kl_coef)]
    front_chart.draw(stages, fronts).savefig(c.folder / "c_morl.png", dpi=110)
    (c.folder / "c_morl.md").write_text(front_chart.table(stages, fronts), encoding="utf-8")
    print(front_chart.table(stages, fronts), end="")


if __name__ == "__main__":
    command.alone(main, Config)
