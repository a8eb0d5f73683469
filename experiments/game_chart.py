"""Paths of policies through a game of three responses: distance to the equilibrium, the triangle, the table."""

from collections.abc import Mapping
from typing import NamedTuple

import game_method
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import figure

from posttrain_jax.losses import game

CORNERS = np.array([[0, 0], [1, 0], [0.5, 3**0.5 / 2]])


class Path(NamedTuple):
    """Log-probabilities by step, and those they should come to."""

    log_probs: np.ndarray
    goal: np.ndarray

    def averages(self) -> np.ndarray:
        """Of the policies so far."""
        probs = np.exp(self.log_probs)
        return np.log(np.cumsum(probs, axis=0) / np.arange(1, len(probs) + 1)[:, None])

    def distances(self, log_probs: np.ndarray) -> np.ndarray:
        """KL(goal || policy), in nats."""
        return np.maximum(np.sum(np.exp(self.goal) * (self.goal - log_probs), axis=-1), 1e-9)


def smooth(distances: np.ndarray, width: int = 50) -> np.ndarray:
    """Means over the last `width` steps: what is left is the sampling's floor, and not its noise."""
    sums = np.cumsum(np.concatenate([np.zeros(1), distances]))
    ends = np.arange(1, len(sums))
    begins = np.maximum(0, ends - width)
    return (sums[ends] - sums[begins]) / (ends - begins)


def draw(paths: Mapping[str, Path], policies: int) -> figure.Figure:
    """Last policies of the first `policies` methods, averages of the others; and all of them in the triangle."""
    chart = figure.Figure(figsize=(16, 6), layout="constrained")
    last, mean, triangle = chart.subplots(1, 3)
    for number, (name, path) in enumerate(paths.items()):
        one = number < policies
        values = path.log_probs if one else path.averages()
        style = {"linewidth": 1, "linestyle": "-" if number < 10 else "--"}
        distances = path.distances(values)
        (last if one else mean).semilogy(smooth(distances) if one else distances, label=name, **style)
        triangle.plot(*(np.exp(values) @ CORNERS).T, linewidth=0.7, label=name)
        triangle.plot(*(np.exp(path.goal) @ CORNERS), "k*")
    triangle.plot(*CORNERS[[0, 1, 2, 0]].T, "k", linewidth=0.5)
    triangle.set(title="the same ways; stars: equilibria", aspect="equal")
    triangle.axis("off")
    titles = "the policy itself (means of 50 steps)", "the average of the policies"
    for axes, title in zip((last, mean), titles, strict=True):
        axes.set(xlabel="steps", ylabel="KL(equilibrium || policy), nats", title=title)
        axes.legend(fontsize=7, ncols=2, loc="upper right")
    return chart


def table(paths: Mapping[str, Path], beta: float) -> str:
    """Where each path ends, in Markdown: means of the last tenth for the policies, the end for averages."""
    lines = ["| method | goal | KL from it, policy | KL, average | dual gap, policy |", "|---" * 5 + "|"]
    for name, path in paths.items():
        tail = path.log_probs[-len(path.log_probs) // 10 :]
        gaps = jax.vmap(lambda x: game.dual_gap(game_method.P, x, game_method.REF, beta=beta))(jnp.asarray(tail))
        goal = ", ".join(f"{x:.3f}" for x in np.exp(path.goal))
        ends = np.mean(path.distances(tail)), path.distances(path.averages())[-1], float(jnp.mean(gaps))
        lines.append(f"| {name} | {goal} | {' | '.join(f'{x:.1e}' for x in ends)} |")
    return "\n".join(lines) + "\n"
