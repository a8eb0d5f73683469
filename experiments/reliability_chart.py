"""How far a reward model's probabilities can be believed: the picture and the table."""

import numpy as np
from matplotlib import figure

from posttrain_jax.losses import calibration


def draw(told: calibration.Reliability) -> figure.Figure:
    """Accuracy against confidence, bin by bin, over the line where both agree; each dot's area is its share."""
    counts, confidence, accuracy = (np.asarray(x) for x in told)
    held = counts > 0
    chart = figure.Figure(figsize=(5, 5), layout="constrained")
    axes = chart.subplots()
    axes.plot([0.5, 1], [0.5, 1], "k--", linewidth=0.8)
    axes.scatter(confidence[held], accuracy[held], s=20 + 600 * counts[held] / counts.sum(), alpha=0.7)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0.49, 1.01), ylim=(-0.03, 1.03))
    return chart


def table(told: calibration.Reliability) -> str:
    """The bins in Markdown."""
    lines = ["| confidence from | to | pairs | mean confidence | accuracy |", "|---" * 5 + "|"]
    edges = np.linspace(0.5, 1, len(told.counts) + 1)
    for low, high, count, confidence, accuracy in zip(edges, edges[1:], *map(np.asarray, told), strict=False):
        lines.append(f"| {low:.2f} | {high:.2f} | {count:.0f} | {confidence:.3f} | {accuracy:.3f} |")
    return "\n".join(lines) + "\n"
