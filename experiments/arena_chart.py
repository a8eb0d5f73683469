"""The picture and the table of `policy_arena`."""

from collections.abc import Sequence
from typing import NamedTuple

import arena_recipe
import arena_rollout
import numpy as np
from matplotlib import figure

ACCURACY, PASS, ENTROPY, KL, RARE, WAY, TOKENS = range(7)
PANELS = {"accuracy": ACCURACY, "rare rules": RARE, "on the way": WAY, "pass@8": PASS, "entropy": ENTROPY, "KL": KL}


class End(NamedTuple):
    """What became of a recipe: `arena_start.measured` on the way [rate, seed, time, 6], tokens likewise."""

    entry: arena_rollout.Entry
    rates: Sequence[float]
    numbers: np.ndarray
    tokens: np.ndarray

    def best(self) -> int:
        """The rate that ends with the highest accuracy on training prompts; one that is not finite is the worst."""
        return int(np.argmax(np.nan_to_num(self.numbers[:, :, -1, -1].mean(1), nan=-1.0)))

    def seeds(self) -> np.ndarray:
        """At that rate: at the end, accuracy on the way being a mean over time and tokens a sum [seed, 7]."""
        found, tokens = self.numbers[self.best()], self.tokens[self.best()].sum(-1)
        return np.column_stack([found[:, -1, :WAY], found[:, :, ACCURACY].mean(1), tokens])

    def accuracy(self) -> float:
        """On held-out prompts, at the end; -1 of what is not finite."""
        return float(np.nan_to_num(self.seeds()[:, ACCURACY].mean(), nan=-1.0))

    def title(self) -> str:
        """Of the recipe."""
        entry = self.entry
        chosen = "" if entry.selection is None else f", `{type(entry.selection).__name__}`"
        return arena_recipe.title(entry.recipe) + chosen + (", critic before" if entry.critic else "")


def draw(ends: Sequence[End], first: np.ndarray) -> figure.Figure:
    """Every recipe a line: means and deviations over seeds, at its best rate; the start is dotted."""
    chart = figure.Figure(figsize=(14, 2 + 0.17 * len(ends)), layout="constrained")
    places, found = np.arange(len(ends)), np.stack([end.seeds() for end in ends])
    panels = chart.subplots(1, len(PANELS) + 1, sharey=True)
    for axes, (title, column) in zip(panels, (PANELS | {"tokens": TOKENS}).items(), strict=True):
        mean, spread = found[:, :, column].mean(1), found[:, :, column].std(1, ddof=1)
        axes.errorbar(mean, places, xerr=spread, fmt="k.", markersize=4, linewidth=0.7)
        axes.axvline((*first[:WAY], first[ACCURACY], 0)[column], linewidth=0.7, linestyle=":")
        axes.set_title(title, fontsize=9)
        axes.grid(axis="y", linewidth=0.2)
    names = [f"{type(end.entry.recipe).__name__} {number}" for number, end in enumerate(ends, 1)]
    panels[0].set_yticks(places, names, fontsize=7)
    panels[0].set_ylim(len(ends) - 0.5, -0.5)
    return chart


def table(ends: Sequence[End], first: np.ndarray) -> str:
    """Means over seeds, and deviations of accuracies, in Markdown."""
    start = [f"{max(first[x], 0):.3f}" for x in (ACCURACY, RARE, ACCURACY, PASS, ENTROPY, KL)]
    lines = [f"| | recipe | updates | rate | {' | '.join(PANELS)} | tokens |", "|---" * 11 + "|"]
    lines.append(f"| | (the start) | | | {' | '.join(start)} | 0 |")
    for number, end in enumerate(ends, 1):
        mean, spread = end.seeds().mean(0), end.seeds().std(0, ddof=1)
        cells = [f"{mean[x]:.3f}" + f" ± {spread[x]:.3f}" * (x in (ACCURACY, RARE, WAY)) for x in PANELS.values()]
        how = f"{end.entry.updates} | {end.rates[end.best()]:g}"
        lines.append(f"| {number} | {end.title()} | {how} | {' | '.join(cells)} | {mean[TOKENS]:.0f} |")
    return "\n".join(lines) + "\n"
