"""Completions as rewards and people read them."""

from collections.abc import Sequence
from typing import Any

from posttrain_jax.data import prompts as prompting
from posttrain_jax.models import tokenizer
from posttrain_jax.rewards import report
from posttrain_jax.rewards import sample as scoring
from posttrain_jax.train import metrics


def decode(
    prompts: prompting.PromptBatch, here: Any, words: tokenizer.Tokenizer, stop_ids: Sequence[int]
) -> list[list[scoring.Sample]]:
    """This process's completions as text, with the example that each belongs to."""
    samples = []
    for index, row in enumerate(prompts.rows):
        group = []
        for member, length in enumerate(here.groups.completion_lengths[index]):
            ids = [int(x) for x in here.groups.completions[index, member, :length]]
            ended = bool(ids) and ids[-1] in stop_ids
            group.append(
                scoring.Sample(
                    prompt=row.text,
                    completion=words.decode(ids[:-1] if ended else ids),
                    example=row.example,
                    completion_tokens=int(here.groups.completion_mask[index, member].sum()),
                    truncated=bool(here.truncated[index, member]),
                )
            )
        samples.append(group)
    return samples


def shown(samples: Sequence[Sequence[scoring.Sample]], scores: report.Scores, *, count: int = 4) -> list[metrics.Shown]:
    """The first completion of the first prompts, as people see it."""
    firsts = zip(samples[:count], scores.rewards, strict=False)
    return [metrics.Shown(row[0].prompt, row[0].completion, float(reward[0])) for row, reward in firsts]
