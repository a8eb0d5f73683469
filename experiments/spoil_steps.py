"""Labelled steps from right solutions: copies of GSM8K's in which one step is spoiled, for `process_reward.py`.

    python experiments/spoil_steps.py --data data/gsm8k/train.jsonl --file runs/steps.jsonl

Steps are the lines of an answer, without the last, which holds the result. Each in its turn is spoiled with odds of one
in two, and the solution goes on as it was: right steps before, a wrong one, and of those behind it nobody says whether
they are right. So half of the labelled steps are right, wherever they stand. A step is spoiled in one of two ways,
equally often: it says another result of its sum, or it is a step of another solution.
"""

import dataclasses
import json
import pathlib
import random
import re
from typing import Annotated

import tyro

from posttrain_jax.data import source
from posttrain_jax.train import command

SUM = re.compile(r"<<([^<>=]*)=([^<>]*)>>(\S*)")
"""GSM8K's sums, <<48/2=24>>24."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What is read and written."""

    source: Annotated[source.Source, tyro.conf.arg(name="")]
    file: pathlib.Path
    seed: int = 0


def wrong_result(step: str, draw: random.Random) -> str:
    """The step with another digit in the result of its first sum; the same where it has none."""
    found = SUM.search(step)
    places = [i for i, x in enumerate(found[2]) if x.isdigit()] if found else []
    if not found or not places:
        return step
    place = draw.choice(places)
    digit = draw.choice([x for x in "0123456789" if x != found[2][place]])
    result = found[2][:place] + digit + found[2][place + 1 :]
    behind = found[3].replace(found[2], result, 1)
    return f"{step[: found.start()]}<<{found[1]}={result}>>{behind}{step[found.end() :]}"


def spoiled(steps: list[str], others: list[str], draw: random.Random) -> tuple[list[str], list[bool | None]]:
    """Steps, and a label for each."""
    for index, step in enumerate(steps):
        if draw.random() < 0.5:
            wrong = wrong_result(step, draw) if draw.random() < 0.5 else step
            wrong = draw.choice(others) if wrong == step else wrong
            labels = [True] * index + [False] + [None] * (len(steps) - index - 1)
            return [*steps[:index], wrong, *steps[index + 1 :]], labels
    return steps, [True] * len(steps)


def main(c: Config) -> None:
    """Read, spoil, write."""
    rows, draw = c.source.read(), random.Random(c.seed)
    parted = [rows[i]["answer"].split("\n")[:-1] for i in range(len(rows))]
    steps = [[line for line in lines if line.strip()] for lines in parted]
    others = [step for one in steps for step in one]
    told, labels = [], []
    for i, own in enumerate(steps):
        if own:
            completions, verdicts = spoiled(own, others, draw)
            told.append(json.dumps({"prompt": rows[i]["question"], "completions": completions, "labels": verdicts}))
            labels += [x for x in verdicts if x is not None]
    c.file.parent.mkdir(parents=True, exist_ok=True)
    c.file.write_text("\n".join(told) + "\n", encoding="utf-8")
    print(f"{c.file}: {len(told):,} solutions, {len(labels):,} labelled steps, {sum(labels) / len(labels):.1%} right")


if __name__ == "__main__":
    command.alone(main, Config)
