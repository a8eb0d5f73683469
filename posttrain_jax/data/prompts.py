"""Prompts for sampling, each with the example that its rewards need."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from posttrain_jax.data import batch, column, fields, source
from posttrain_jax.data import encode as encoding

GIVEN = "given"
"""The column of completions that join the policy's own: token ids [P, K, width], filled up with -1."""


@dataclasses.dataclass(frozen=True)
class PromptRow:
    """A prompt in tokens and in text, with its example."""

    tokens: encoding.TokenRow
    text: str
    """What the model is given, decoded where a chat template made it or the limit cut it."""
    example: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class PromptBatch:
    """P prompts of one process, padded on the right."""

    prompts: Int[np.ndarray, "P S"]
    prompt_lengths: Int[np.ndarray, "P"]
    group_ids: Int[np.ndarray, "P"]
    """Index of the source row, -1 on filling rows."""
    row_mask: Bool[np.ndarray, "P"]
    """False on rows that only fill up the last batch of a pass."""
    rows: Sequence[PromptRow]
    """As many as `row_mask` has True."""
    columns: Mapping[str, Float[np.ndarray, "P ..."]] = dataclasses.field(default_factory=dict)
    """What the data say of each prompt for the recipe (`attach`); 0 on filling rows."""


def encode(
    rows: source.Rows,
    read: Callable[[source.Row], fields.Prompt],
    tokenizer: encoding.Tokenizer,
    limits: encoding.Limits,
    *,
    max_bad_fraction: float = 0.0,
) -> tuple[list[PromptRow], encoding.EncodeReport]:
    """Prompt rows of `rows`, and what was cut or left out. `limits.completion` plays no part.

    Args:
        rows: examples.
        read: from a row to its prompt: `PromptFields` or any function.
        tokenizer: of the model.
        limits: in tokens, with the policy for longer prompts.
        max_bad_fraction: share of the rows that may be unfit and is left out and counted; with 0 the first is an error.
    """
    tally = encoding.Tally(limits, tokenizer)

    def make(index: int) -> tuple[encoding.TokenRow, str] | None:
        prompt = read(rows[index])
        ids = tokenizer.render_prompt(prompt)
        tokens = tally.fit(index, ids, [])
        if tokens is None:
            return None
        cut = len(tokens.prompt) < len(ids)
        text = prompt if isinstance(prompt, str) and not cut else tokenizer.decode(tokens.prompt.tolist())
        return tokens, text

    encoded, report = tally.collect(rows, make, max_bad_fraction=max_bad_fraction)
    return [PromptRow(tokens, text, rows[tokens.index]) for tokens, text in encoded], report


def attach(rows: Sequence[PromptRow], name: str, values: Sequence[Float[np.ndarray, "*_"]]) -> list[PromptRow]:
    """The rows with one more column, which the recipe finds beside the rewards' by its name.

    Args:
        rows: encoded.
        name: of the column; no reward's.
        values: one for each row, all of one shape: a number, or token ids (`column.prompt`: a gold answer).
    """
    tokens = column.attach([row.tokens for row in rows], name, values)
    return [dataclasses.replace(row, tokens=own) for row, own in zip(rows, tokens, strict=True)]


def give(rows: Sequence[PromptRow], completions: Sequence[Sequence[encoding.Ids]], *, width: int) -> list[PromptRow]:
    """The rows with completions that join the policy's own in `run_online`, for recipes that want some.

        answers = [[tokenizer.render_completion(row.example["answer"])] for row in rows]
        rows = prompts.give(rows, answers, width=sampling.max_new_tokens)

    Args:
        rows: encoded.
        completions: token ids, with the token that ends them; as many for each row. One without ids leaves its place
            in the group empty.
        width: the most tokens of a completion, as in sampling.

    Raises:
        ValueError: a completion is longer, or rows have different numbers of them.
    """
    for row, own in zip(rows, completions, strict=True):
        if longest := max((len(ids) for ids in own if len(ids) > width), default=0):
            raise ValueError(
                f"the given completion of row {row.tokens.index} has {longest} tokens and there is room for {width}:"
                " shorten it, leave the row out, or sample longer completions."
            )
    fill = [column.FILL] * width
    values = [np.asarray([[*ids, *fill][:width] for ids in own], np.float32) for own in completions]
    return attach(rows, GIVEN, values)


def telling(
    read: Callable[[source.Row], fields.Prompt | fields.Preference], answers: Sequence[str] = ()
) -> Callable[[Mapping[str, Any]], tuple[fields.Prompt, list[str]]]:
    """From a row to its prompt, and to those of a pair's answers that are named: chosen, rejected."""

    def told(row: Mapping[str, Any]) -> tuple[fields.Prompt, list[str]]:
        found = read(dict(row))
        if isinstance(found, fields.Preference):
            return found.prompt, [vars(found)[name] for name in answers]
        if answers:
            raise ValueError(f"{', '.join(answers)}: the rows are read as prompts alone, which have no answers.")
        return found, []

    return told


def give_texts(
    rows: Sequence[PromptRow],
    read: Callable[[Mapping[str, Any]], tuple[fields.Prompt, Sequence[str]]],
    tokenizer: encoding.Tokenizer,
    *,
    width: int,
) -> list[PromptRow]:
    """As `give`, of texts; longer ones keep their beginning, one without a word leaves its place empty.

    Args:
        rows: encoded.
        read: from an example to its prompt and to the texts that are given, as many for each; with none, nothing is.
        tokenizer: of the model.
        width: the most tokens of a completion, as in sampling.
    """
    found = [read(row.example) for row in rows]
    if not any(texts for _, texts in found):
        return list(rows)

    def ids(prompt: fields.Prompt, text: str) -> encoding.Ids:
        return encoding.keep_start(encoding.group(tokenizer, prompt, [text])[1][0], width) if text.strip() else []

    return give(rows, [[ids(prompt, text) for text in texts] for prompt, texts in found], width=width)


@dataclasses.dataclass(frozen=True)
class Pad:
    """Collates prompt rows: the smallest of `lengths` that holds every prompt of the global batch."""

    lengths: Sequence[int]
    """Padded prompt lengths that may occur, in tokens: each one compiles once."""
    pad_id: int

    def __call__(self, rows: Sequence[PromptRow], own: slice) -> PromptBatch:
        """The `own` part of the global batch `rows`."""
        buckets = [batch.Bucket(length, 0) for length in self.lengths]
        tokens = [row.tokens for row in rows]
        groups = batch.Pad(buckets, self.pad_id, group_size=0)(tokens, own)
        present, here = groups.group_ids >= 0, list(rows[own])
        return PromptBatch(
            groups.prompts, groups.prompt_lengths, groups.group_ids, present, here, columns=groups.columns
        )
