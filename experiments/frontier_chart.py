"""Paths of recipes in the plane of divergence and reward, under the exact frontier: the picture and the table.

A path is `[data set, (KL, reward, the most reward at that KL), step]`, rewards measured from the reference's.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import figure


def draw(paths: Mapping[str, np.ndarray], titles: Sequence[str]) -> figure.Figure:
    """One panel a data set; every path's end carries its number in the table."""
    chart = figure.Figure(figsize=(12, 5), layout="constrained")
    kls, most = (np.concatenate([path[:, row] for path in paths.values()], axis=1) for row in (0, 2))
    for kind, (axes, title) in enumerate(zip(chart.subplots(1, len(titles), sharey=True), titles, strict=True)):
        order = np.argsort(kls[kind])
        axes.plot(kls[kind][order], most[kind][order], "k")
        for number, path in enumerate(paths.values(), 1):
            axes.plot(*path[kind, :2], linewidth=0.6, alpha=0.6)
            axes.text(path[kind, 0, -1], path[kind, 1, -1], str(number), fontsize=8)
        axes.set(xlabel="KL to the reference (nats)", ylabel="reward above the reference", title=title)
    return chart


def table(paths: Mapping[str, np.ndarray]) -> str:
    """Where each path ends, in Markdown."""
    lines = ["| | recipe | KL | reward | of the most | KL, noisy | reward, noisy | of the most |", "|---" * 8 + "|"]
    for number, (name, path) in enumerate(paths.items(), 1):
        cells = [f"{kl:.2f} | {reward:.3f} | {reward / most:.0%}" for kl, reward, most in path[:, :, -1]]
        lines.append(f"| {number} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
