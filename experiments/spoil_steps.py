"""Labelled steps from right solutions: copies of GSM8K's in which one step is spoiled, for `process_reward.py`.

    python experiments/spoil_steps.py --data data/gsm8k/train.jsonl --file runs/steps.jsonl

Steps are the lines of an answer, without the last, which holds the result. Each in its turn is spoiled with odds of one
in two, and the solution goes on as it was: right steps before, a wrong one, and of those behind it nobody says whether
they are right. So half of the labelled steps are right, wherever they stand. The words of a spoiled step are in another
order: that much a small model can learn to see.
"""

import dataclasses
import json
import pathlib
import random
from typing import Annotated

import tyro

from posttrain_jax.data import fields, source
from posttrain_jax.train import checks, command


@dataclasses.dataclass(frozen=True)
class Config:
    """What is read and written."""

    source: Annotated[source.Source, tyro.conf.arg(name="")]
    file: pathlib.Path
    seed: int = 0


def shuffled(step: str, draw: random.Random) -> str:
    """The step with its words in another order; the same where there is none."""
    words = step.split(" ")
    while len(set(words)) > 1 and " ".join(words) == step:
        draw.shuffle(words)
    return " ".join(words)


def spoiled(steps: list[str], draw: random.Random) -> tuple[list[str], list[bool | None]]:
    """Steps, and a label for each."""
    for index, step in enumerate(steps):
        if draw.random() < 0.5 and (wrong := shuffled(step, draw)) != step:
            labels = [True] * index + [False] + [None] * (len(steps) - index - 1)
            return [*steps[:index], wrong, *steps[index + 1 :]], labels
    return steps, [True] * len(steps)


def main(c: Config) -> None:
    """Read, spoil, write."""
    checks.writable(c.file.parent)
    rows, draw = c.source.read(), random.Random(c.seed)
    parted = [fields.text(rows[i], "answer").split("\n")[:-1] for i in range(len(rows))]
    steps = [[line for line in lines if line.strip()] for lines in parted]
    told, labels = [], []
    for i, own in enumerate(steps):
        if own:
            completions, verdicts = spoiled(own, draw)
            told.append(
                json.dumps({"prompt": fields.text(rows[i], "question"), "completions": completions, "labels": verdicts})
            )
            labels += [x for x in verdicts if x is not None]
    c.file.write_text("\n".join(told) + "\n", encoding="utf-8")
    print(f"{c.file}: {len(told):,} solutions, {len(labels):,} labelled steps, {sum(labels) / len(labels):.1%} right")


if __name__ == "__main__":
    command.alone(main, Config)
