"""Pictures of a run."""

import pathlib

import jax
from matplotlib.backends import backend_agg
from matplotlib.figure import Figure

from posttrain_jax.train import metrics

CURVES = ("reward", "loss", "accuracy", "margin", "kl", "entropy", "completion_length", "grad_norm")
"""Metrics that are drawn, where a run has them; the loss of a run with rewards says nothing and is left out."""


def plot_run(folder: str | pathlib.Path) -> pathlib.Path:
    """Draw `metrics.jsonl` of a run's folder as `metrics.png` in the same folder; of several processes the first does.

    Raises:
        ValueError: there is nothing to draw.
    """
    folder = pathlib.Path(folder)
    if jax.process_index() != 0:
        return folder / "metrics.png"
    lines = metrics.read(folder / "metrics.jsonl")
    names = [name for name in CURVES if any(line.get(name) is not None for line in lines)]
    if "reward" in names and "loss" in names:
        names.remove("loss")
    if not names:
        raise ValueError(f"{folder / 'metrics.jsonl'} has none of {', '.join(CURVES)}: run at least one step first.")
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.0 * rows), layout="constrained")
    backend_agg.FigureCanvasAgg(figure)
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, place + 1)
        points = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, linewidth=0.8, alpha=0.4, color="tab:blue")
        axes.plot(steps, smooth(values), linewidth=1.6, color="tab:blue")
        held_out = [(line["step"], line[f"eval/{name}"]) for line in lines if line.get(f"eval/{name}") is not None]
        if held_out:
            axes.plot(*zip(*held_out, strict=True), "o-", markersize=3, color="tab:orange", label="held out")
            axes.legend()
        axes.set_title(name.replace("_", " "))
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    path = folder / "metrics.png"
    figure.savefig(path, dpi=120)
    return path


def smooth(values: tuple[float, ...]) -> list[float]:
    """The mean of each value and up to a twentieth of the curve before it."""
    width = max(1, len(values) // 20)
    windows = [values[max(0, end - width) : end] for end in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]
