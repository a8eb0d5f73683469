"""Verifiable tasks made by rule (`reasoning_gym`), split so that no held-out question is a training question."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import reasoning_gym

from posttrain_jax.data import source


@dataclasses.dataclass(frozen=True)
class TaskSplit:
    """Examples with `prompt`, `question`, `answer` and `metadata`: what `TaskAnswer` scores."""

    train: list[source.Row]
    held_out: list[source.Row]


def generate(
    name: str,
    *,
    train: int,
    held_out: int,
    seed: int,
    config: Mapping[str, Any],
    template: str = "{question}",
) -> TaskSplit:
    """Distinct questions of one task; the first are held out, so that they stay the same whatever `train` is.

    Args:
        name: as `reasoning_gym.create_dataset` knows it, e.g. "basic_arithmetic".
        train: training examples.
        held_out: held-out examples.
        seed: of the generation.
        config: the task's own settings, beside seed and size.
        template: the prompt, `{question}` standing for the question.

    Raises:
        ValueError: the task has too few distinct questions, or the template has no place for them.
    """
    if "{question}" not in template:
        raise ValueError(f"template {template!r} does not say where {{question}} stands: all prompts would be one.")
    wanted = train + held_out
    # Small tasks repeat themselves: drawing on costs little, and an exhausted task must end in a sentence.
    draws = 20 * wanted + 100
    dataset = reasoning_gym.create_dataset(name, seed=seed, size=draws, **config)
    examples: dict[str, source.Row] = {}
    for index in range(draws):
        if len(examples) == wanted:
            break
        entry = dataset[index]
        prompt = template.replace("{question}", entry["question"])
        examples.setdefault(" ".join(entry["question"].split()), {"prompt": prompt, **entry})
    if len(examples) < wanted:
        raise ValueError(
            f"task {name!r} gave {len(examples)} distinct questions in {draws} draws, but {train} for training and "
            f"{held_out} held out are asked for; ask for fewer or widen its config."
        )
    rows = list(examples.values())
    split = TaskSplit(train=rows[held_out:], held_out=rows[:held_out])
    source.check_disjoint(split.train, split.held_out, field="question")
    return split
