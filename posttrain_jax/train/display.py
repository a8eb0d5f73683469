"""What a person watches while a run goes on."""

import time
from collections.abc import Mapping, Sequence

import rich.console
import rich.live
import rich.progress_bar
import rich.table
import rich.text

from posttrain_jax.train import metrics

HEADLINES = ("reward", "loss", "accuracy", "margin", "kl", "entropy", "completion_length", "grad_norm")
"""Metrics shown first, where a run has them."""


class Display:
    """Live numbers on a terminal; one line every few steps elsewhere.

    Args:
        steps: of the whole run.
        every: steps between lines where there is no terminal.
        console: where to write.
    """

    def __init__(self, steps: int, *, every: int = 10, console: rich.console.Console | None = None):
        self._console = console or rich.console.Console()
        self._steps = steps
        self._every = every
        self._begin = time.monotonic()
        self._first: int | None = None
        self._live: rich.live.Live | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Show one step."""
        self._first = step if self._first is None else self._first
        if self._console.is_terminal:
            if self._live is None:
                self._live = rich.live.Live(console=self._console, auto_refresh=False, transient=False)
                self._live.start()
            self._live.update(self._panel(step, values), refresh=True)
        elif step % self._every == 0 or step in (self._first, self._steps):
            shown = "  ".join(f"{name} {number(x)}" for name, x in headlines(values).items())
            self._console.print(f"step {step}/{self._steps}  {shown}", markup=False, highlight=False, soft_wrap=True)

    def samples(self, step: int, shown: Sequence[metrics.Shown]) -> None:
        """Show samples in a table."""
        self._console.print(sample_table(step, shown))

    def close(self) -> None:
        """Leave the last numbers on the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _panel(self, step: int, values: Mapping[str, float]) -> rich.console.RenderableType:
        grid = rich.table.Table.grid(padding=(0, 2))
        for name, x in headlines(values).items():
            grid.add_row(rich.text.Text(name, style="bold"), number(x))
        phases = {name.removeprefix("seconds/"): x for name, x in values.items() if name.startswith("seconds/")}
        if phases:
            shares = ", ".join(f"{name} {x:.2f}" for name, x in phases.items())
            grid.add_row(rich.text.Text("seconds", style="bold"), shares)
        done = step - (self._first or 0) + 1
        left = (time.monotonic() - self._begin) / done * (self._steps - step)
        bar = rich.progress_bar.ProgressBar(total=self._steps, completed=step, width=40)
        head = rich.table.Table.grid(padding=(0, 2))
        head.add_row(f"step {step}/{self._steps}", bar, f"{left:.0f} s left")
        return rich.console.Group(head, grid)


def headlines(values: Mapping[str, float]) -> dict[str, float]:
    """The numbers worth a person's eye, in a fixed order: the speed, and what scoring failed on, behind the rest."""
    counted = (name for name in values if name.startswith(("eval/", "failed/")))
    names = [*HEADLINES, "tokens_per_second", *(["unscored"] if values.get("unscored") else []), *counted]
    return {name: values[name] for name in names if name in values}


def number(x: float) -> str:
    """A number in few characters."""
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.4g}"


def sample_table(step: int, shown: Sequence[metrics.Shown], *, width: int = 400) -> rich.table.Table:
    """Samples as a table; text is shown as it is, never read as markup, and cut at `width` characters."""
    table = rich.table.Table(title=f"step {step}", show_lines=True, expand=True)
    table.add_column("prompt", ratio=2)
    table.add_column("completion", ratio=3)
    table.add_column("reward", justify="right", no_wrap=True)
    for sample in shown:
        texts = (sample.prompt, sample.completion)
        cut = [rich.text.Text(text[:width] + ("…" if len(text) > width else "")) for text in texts]
        table.add_row(*cut, f"{sample.reward:.3g}")
    return table


def comparison(stages: Mapping[str, Mapping[str, float]]) -> rich.table.Table:
    """Named sets of the same numbers, a row each."""
    table = rich.table.Table()
    table.add_column("")
    for name in next(iter(stages.values())):
        table.add_column(name.replace("_", " "), justify="right")
    for stage, values in stages.items():
        table.add_row(stage, *(number(x) for x in values.values()))
    return table
