"""Fronts of two objectives, stage by stage, under the true one: the picture and the table."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib import figure

from posttrain_jax.losses import front

WEIGHTS = jnp.stack([jnp.linspace(0, 1, 101), 1 - jnp.linspace(0, 1, 101)], axis=1)


def draw(stages: Sequence[Array], fronts: Sequence[Array]) -> figure.Figure:
    """The points of each stage, those that are unbeaten joined; behind them the true front, without KL and with it."""
    chart = figure.Figure(figsize=(6.5, 6), layout="constrained")
    axes = chart.subplots()
    for one, style, name in zip(fronts, ("k-", "k:"), ("true front", "true front of what is trained"), strict=True):
        axes.plot(*one.T, style, linewidth=1, label=name)
    for number, points in enumerate(stages):
        best = points[np.flatnonzero(front.unbeaten(points))]
        shown = {"markersize": 7 - number, "linewidth": 0.8, "alpha": 0.8}
        axes.plot(*best[jnp.argsort(best[:, 0])].T, "o-", label=_title(number), **shown)
    axes.set(xlabel="first objective", ylabel="second objective")
    axes.legend(loc="lower left")
    return chart


def table(stages: Sequence[Array], fronts: Sequence[Array]) -> str:
    """Hypervolume above 0, expected utility of evenly spread weights and sparsity, in Markdown."""
    named = {_title(number): points for number, points in enumerate(stages)}
    named |= dict(zip(("true front of what is trained", "true front"), fronts[::-1], strict=True))
    lines = ["| | policies | unbeaten | hypervolume | expected utility | sparsity |", "|---" * 6 + "|"]
    for name, points in named.items():
        best = points[np.flatnonzero(front.unbeaten(points))]
        numbers = front.hypervolume(best, jnp.zeros(2)), front.expected_utility(best, WEIGHTS), front.sparsity(best)
        cells = " | ".join(f"{float(x):.4f}" for x in numbers)
        lines.append(f"| {name} | {len(points)} | {len(best)} | {cells} |")
    return "\n".join(lines) + "\n"


def _title(number: int) -> str:
    return f"stage 2, round {number}" if number else "stage 1"
