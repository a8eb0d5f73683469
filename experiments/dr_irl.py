"""DR-IRL's alternation on responses that can be listed: rewards and a policy from demonstrations.

python experiments/dr_irl.py

An expert shows a few responses to every prompt; what it wants of the two kinds of prompts is never told. Steps
alternate: a reward model for each kind is raised on demonstrations and lowered on the policy's own responses, and the
policy learns from it, near its reference. Where the reward is the expert's up to a constant, the policy is the expert.
With one reward model for both kinds it cannot be. Source: Cheng et al. 2025 (arXiv:2503.18991).
"""

import dataclasses
import pathlib

import demonstrated_task
import jax
import numpy as np
import shadow_reward

from posttrain_jax import DRIRL, RLOO
from posttrain_jax.losses import tilting
from posttrain_jax.train import command


@dataclasses.dataclass(frozen=True)
class Config:
    """The problem and the training."""

    folder: pathlib.Path = pathlib.Path("runs/dr_irl")
    prompts: int = 64
    responses: int = 8
    demonstrations: int = 4
    """Of each prompt."""
    beta: float = 0.3
    """Of the expert's divergence from even responses, and of the policy's."""
    steps: int = 3000
    seeds: int = 4


def ends(c: Config, key: jax.Array) -> dict[str, jax.Array]:
    """Policies by how they came to be."""
    keys = jax.random.split(key)
    given, plain = demonstrated_task.task(keys[0], c.prompts, c.responses, c.demonstrations, c.beta), RLOO(c.beta)
    learn = {
        "one reward model, RLOO": (plain, True),
        "one for each kind, RLOO": (plain, False),
        "one for each kind, DRIRL": (DRIRL(width=0.25, recipe=plain), False),
    }
    found = {
        "even (the reference)": demonstrated_task.even(given.features),
        "fine-tuning": demonstrated_task.copied(given),
    }
    for name, (recipe, shared) in learn.items():
        found[name] = shadow_reward.alternate(given, recipe, keys[1], shared=shared, steps=c.steps)
    return {name: tilting.divergence(given.expert, one).mean() for name, one in found.items()}


def main(c: Config) -> None:
    """Train on every seed, tell."""
    all_ends = [ends(c, key) for key in jax.random.split(jax.random.key(0), c.seeds)]
    lines = ["| policy | KL(expert, policy), nats | over seeds |", "|---|---|---|"]
    for name in all_ends[0]:
        values = np.array([one[name] for one in all_ends])
        lines.append(f"| {name} | {values.mean():.4f} | {values.min():.4f} to {values.max():.4f} |")
    c.folder.mkdir(parents=True, exist_ok=True)
    (c.folder / "dr_irl.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    command.alone(main, Config)
