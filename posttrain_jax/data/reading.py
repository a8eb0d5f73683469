"""Kinds of data that preferences are learned from: from source rows to token rows with the columns of a recipe.

A script takes any of them as one field; `docs/preference_methods.md` says which recipes read which.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from posttrain_jax.data import column, context, curriculum, document, fields, instruction, phrases, source
from posttrain_jax.data import encode as encoding

PairFields = fields.PreferenceFields | fields.ConversationPreferenceFields | fields.DialoguePreferenceFields
"""Where a row's prompt, chosen and rejected completion are."""
Row = encoding.TokenRow | None
"""None where the limits leave the row out."""


@runtime_checkable
class Reading(Protocol):
    """How a row of a data set becomes a row of tokens."""

    @property
    def group_size(self) -> int:
        """Completions of a row."""
        ...

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """The row within the limits of the tally; ValueError where it does not fit the fields."""
        ...


def encode(
    reading: Reading,
    rows: source.Rows,
    tokenizer: encoding.Tokenizer,
    limits: encoding.Limits,
    *,
    max_bad_fraction: float = 0.0,
) -> tuple[list[encoding.TokenRow], encoding.EncodeReport]:
    """Token rows of `rows`, and what was cut or left out.

    Args:
        reading: of which kind they are.
        rows: examples.
        tokenizer: of the model.
        limits: in tokens, with the policies for longer text.
        max_bad_fraction: share of the rows that may be unfit and is left out and counted; with 0 the first is an error.
    """
    tally = encoding.Tally(limits, tokenizer)
    make = lambda index: reading.token_row(index, rows[index], tally)  # noqa: E731
    return tally.collect(rows, make, max_bad_fraction=max_bad_fraction)


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Chosen and rejected completions."""

    read: PairFields = fields.PreferenceFields()
    numbers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Columns by name, and the fields of their numbers: one of the row (annotator) or one of each completion."""
    group_size = 2

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        pair = self.read(row)
        return _pair(index, pair, {**pair.columns, **_numbers(row, self.numbers)}, tally)


@dataclasses.dataclass(frozen=True)
class Demonstrated:
    """One completion to imitate."""

    read: fields.DemonstrationFields | fields.ConversationFields = fields.DemonstrationFields()
    group_size = 1

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        shown = self.read(row)
        return tally.fit(index, *encoding.group(tally.tokenizer, shown.prompt, [shown.completion]))


@dataclasses.dataclass(frozen=True)
class Labelled:
    """One completion that is desirable or not: the column `desirable`."""

    read: fields.LabelledFields = fields.LabelledFields()
    group_size = 1

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        told = self.read(row)
        tokens = encoding.group(tally.tokenizer, told.prompt, [told.completion])
        return tally.fit(index, *tokens, {"desirable": float(told.desirable)})


@dataclasses.dataclass(frozen=True)
class Ranked:
    """Completions best first, or sorted by their scores, which no column keeps."""

    read: fields.RankingFields = fields.RankingFields()
    group_size: int = 4
    """The most completions of a row; shorter rankings leave the last places empty."""

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        ranking = self.read(row)
        _check_size(ranking, self.group_size)
        return tally.fit(index, *encoding.group(tally.tokenizer, ranking.prompt, ranking.completions))


@dataclasses.dataclass(frozen=True)
class Listed:
    """Completions in the order of the data, and numbers of each: grades, winners, scores, log-odds."""

    numbers: Mapping[str, str]
    """Columns by name, and the fields of their lists; places that a shorter list leaves empty hold 0."""
    prompt: fields.PromptFields = fields.PromptFields()
    completions: str = "completions"
    group_size: int = 4
    """The most completions of a row."""

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        listed = fields.RankingFields(self.prompt, self.completions)(row)
        _check_size(listed, self.group_size)
        count, columns = len(listed.completions), _numbers(row, self.numbers)
        for name, numbers in columns.items():
            if numbers.shape != (count,):
                raise ValueError(f"field {self.numbers[name]!r} holds no list of {count} numbers.")
        wide = {name: np.pad(numbers, (0, self.group_size - count)) for name, numbers in columns.items()}
        return tally.fit(index, *encoding.group(tally.tokenizer, listed.prompt, listed.completions), wide)


@dataclasses.dataclass(frozen=True)
class Differing:
    """Pairs whose differing tokens are marked: the column `differing` of `RRPO`."""

    read: PairFields = fields.PreferenceFields()
    group_size = 2

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        made = Pairs(self.read).token_row(index, row, tally)
        return None if made is None else phrases.mark([made], tally.limits)[0]


@dataclasses.dataclass(frozen=True)
class Contrasted:
    """Pairs, and prompts that ask to rewrite each answer better and worse: the columns of `TREG` and `TREGSimPO`."""

    read: PairFields = fields.PreferenceFields()
    width: int = 512
    """Longest of these prompts, which hold prompt and answer, in tokens."""
    group_size = 2

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        pair = self.read(row)
        better, worse = context.contrast(pair, tally.tokenizer, width=self.width)
        return _pair(index, pair, {"better_prompt": better, "worse_prompt": worse}, tally)


@dataclasses.dataclass(frozen=True)
class Excerpted:
    """Answers to an instruction about a long document, and the part that matters: rows of `LongPO`."""

    document: str = "document"
    part: str = "part"
    instruction: str = "instruction"
    chosen: str = "chosen"
    """The answer that was written after the part."""
    rejected: str = "rejected"
    """The answer that was written after the whole document."""
    group_size = 2

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        names = self.document, self.part, self.instruction, self.chosen, self.rejected
        whole, part, asked, chosen, rejected = (fields.text(row, name) for name in names)
        short = tally.tokenizer.render_prompt(document.PROMPT.format(document=part, instruction=asked))
        columns = {"short_prompt": column.prompt(short, tally.limits.prompt)}
        return _pair(index, document.preference(whole, asked, chosen=chosen, rejected=rejected), columns, tally)


@dataclasses.dataclass(frozen=True)
class Explained:
    """Pairs with a text that says why the chosen answer is better: rows of `RationalePO`.

    Rows that exceed the limits are left out, the answers that the rationale is about included.
    """

    read: PairFields = fields.PreferenceFields()
    rationale: str = "rationale"
    """Its field; an empty text leaves it out."""
    group_size = 3

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        why = fields.text(row, self.rationale)
        return tally.keep(context.with_rationale(index, self.read(row), why, tally.tokenizer))


@dataclasses.dataclass(frozen=True)
class Instructed:
    """Pairs, and the same answers under instructions that they keep and break: rows of `MAPL`.

    Rows that exceed the limits are left out, the instructions included.
    """

    read: PairFields = fields.PreferenceFields()
    seed: int = 0
    """Which instructions are drawn."""
    group_size = 8

    def token_row(self, index: int, row: source.Row, tally: encoding.Tally) -> Row:
        """See `Reading.token_row`."""
        return tally.keep(instruction.row(index, self.read(row), tally.tokenizer, seed=self.seed))


Alone = Demonstrated | Labelled
"""One completion a row."""
Several = Ranked | Listed | curriculum.Stage
"""As many as the row lists."""
Kind = Pairs | Alone | Several | Differing | Contrasted | Excerpted | Explained | Instructed
"""All of them."""


def _pair(index: int, pair: fields.Preference, columns: Mapping[str, Any], tally: encoding.Tally) -> Row:
    return tally.fit(index, *encoding.group(tally.tokenizer, pair.prompt, [pair.chosen, pair.rejected]), columns)


def _check_size(ranking: fields.Ranking, group_size: int) -> None:
    if len(ranking.completions) > group_size:
        count = len(ranking.completions)
        raise ValueError(f"{count} completions do not fit into a group_size of {group_size}: raise it.")


def _numbers(row: source.Row, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    def one(field: str) -> np.ndarray:
        found = fields.entry(row, field)
        several = isinstance(found, list | tuple)
        return np.asarray([fields.number({field: x}, field) for x in found] if several else fields.number(row, field))

    return {name: one(field) for name, field in names.items()}
