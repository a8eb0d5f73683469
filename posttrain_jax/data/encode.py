"""From text to token rows that respect length limits, with a count of what had to be cut or left out."""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from posttrain_jax.data import exchange, fields

Ids = list[int]
Encoded = TypeVar("Encoded")


@runtime_checkable
class Tokenizer(Protocol):
    """What encoding needs of a tokenizer."""

    @property
    def bos_id(self) -> int | None:
        """Begins a prompt; None where the model has none."""
        ...

    def decode(self, ids: Ids, /) -> str:
        """Text of the ids."""
        ...

    def render_prompt(self, prompt: Any, /) -> Ids:
        """Ids of a text prompt or of messages, with exactly one BOS where the model has one."""
        ...

    def render_completion(self, text: str, /) -> Ids:
        """Ids of a text completion, EOS at the end."""
        ...

    def render_example(self, messages: Any, /) -> tuple[Ids, Ids]:
        """Ids of a conversation up to the last message, and of the last message with the token that ends it."""
        ...


Policy = Callable[[Ids, int], Ids | None]
"""What to do with more ids than the limit: the ids to keep, None to leave the row out, or ValueError."""


def keep_end(ids: Ids, limit: int) -> Ids:
    """The last `limit` ids: for prompts, whose end holds the question and the beginning of the answer's turn."""
    return ids[len(ids) - limit :]


def keep_start(ids: Ids, limit: int) -> Ids:
    """The first `limit` ids: for completions. EOS goes with the end: the text does not end there."""
    return ids[:limit]


def leave_out(ids: Ids, limit: int) -> None:
    """None: the row is left out and counted."""


def refuse(ids: Ids, limit: int) -> Ids:
    """Raise ValueError."""
    raise ValueError(f"{len(ids)} tokens exceed the limit of {limit}; raise the limit, or let such rows be cut.")


@dataclasses.dataclass(frozen=True)
class Limits:
    """Longest prompt and completion, in tokens, and what happens to longer ones."""

    prompt: int
    """BOS included; it survives the cut."""
    completion: int
    """EOS included."""
    long_prompt: Policy = keep_end
    long_completion: Policy = keep_start

    def __post_init__(self):
        if self.prompt < 2 or self.completion < 1:
            raise ValueError(f"limits of {self.prompt} prompt and {self.completion} completion tokens leave no room.")


@dataclasses.dataclass(frozen=True)
class TokenRow:
    """One prompt with its completions, before padding."""

    prompt: Int[np.ndarray, "s"]
    completions: tuple[Int[np.ndarray, "_"], ...]
    """As many as a group has: 0 for prompts alone, 1 for demonstrations, 2 for preferences (chosen, rejected)."""
    index: int
    """Of the source row."""
    columns: Mapping[str, Float[np.ndarray, "*_"]] = dataclasses.field(default_factory=dict)
    """What the data say of the row beside its tokens: a number, or one for each completion."""
    given: tuple[int, ...] | None = None
    """Tokens at the beginning of each completion that are read and not learned (`context.join`); None for none."""


@dataclasses.dataclass(frozen=True)
class EncodeReport:
    """What happened to the source rows: show it."""

    rows: int
    """Kept."""
    cut_prompts: int
    cut_completions: int
    left_out: int
    """Too long for a policy that leaves rows out, or without what is read (a pair of this stage)."""
    bad: int
    """Did not fit the fields: missing or of another kind, empty completion, prompts of a pair that differ."""
    equal: int = 0
    """Kept, although all completions of the row are the same tokens, from which no comparison learns."""

    def __rich_repr__(self) -> Iterator[tuple[str, int, int]]:
        """The rows, and what happened to any: one line on a screen."""
        yield from ((name, count, -1 if name == "rows" else 0) for name, count in vars(self).items())


class Tally:
    """Applies limits to row after row, and counts."""

    def __init__(self, limits: Limits, tokenizer: Tokenizer):
        self.limits = limits
        self.tokenizer = tokenizer
        self._counts: collections.Counter[str] = collections.Counter()
        self._shapes: dict[str, tuple[int, ...]] = {}  # of the first row's columns

    def fit(
        self, index: int, prompt: Ids, completions: Sequence[Ids], columns: Mapping[str, Any] | None = None
    ) -> TokenRow | None:
        """The row within its limits, or None where a policy leaves it out."""
        numbers = {name: np.asarray(x, np.float32) for name, x in (columns or {}).items()}
        for name, x in numbers.items():
            if x.shape != (first := self._shapes.setdefault(name, x.shape)):
                raise ValueError(f"the numbers {name!r} have shape {x.shape} where the first row's have {first}.")
        kept = self._fit_prompt(prompt)
        cut = [self._fit_completion(ids) for ids in completions]
        if kept is None or None in cut:
            self._counts["left_out"] += 1
            return None
        self._counts["rows"] += 1
        self._counts["cut_prompts"] += len(kept) < len(prompt)
        self._counts["cut_completions"] += sum(
            a is not None and len(a) < len(b) for a, b in zip(cut, completions, strict=True)
        )
        arrays = tuple(np.asarray(ids, np.int32) for ids in cut if ids is not None)
        self._counts["equal"] += len(arrays) > 1 and all(np.array_equal(x, arrays[0]) for x in arrays[1:])
        return TokenRow(np.asarray(kept, np.int32), arrays, index, numbers)

    def keep(self, row: TokenRow) -> TokenRow | None:
        """A row that was made elsewhere, whole; None, and left out, where it exceeds the limits.

        What begins a completion without being learned (`given`) counts towards its length.
        """
        longest = max(map(len, row.completions), default=0)
        if len(row.prompt) > self.limits.prompt or longest > self.limits.completion:
            return self.leave_out()
        self._counts["rows"] += 1
        return row

    def leave_out(self) -> None:
        """A row without what is asked for."""
        self._counts["left_out"] += 1

    def _fit_prompt(self, ids: Ids) -> Ids | None:
        if not ids:
            raise ValueError("the prompt is empty, so there is no position to predict a completion from.")
        bos = self.tokenizer.bos_id
        if bos is not None and ids[:2] == [bos, bos]:
            raise ValueError(f"the prompt begins with two BOS tokens (id {bos}): leave BOS to the tokenizer.")
        limit = self.limits.prompt
        if len(ids) <= limit:
            return ids
        head = ids[:1] if ids[0] == bos else []
        kept = self.limits.long_prompt(ids[len(head) :], limit - len(head))
        return None if kept is None else head + kept

    def _fit_completion(self, ids: Ids) -> Ids | None:
        if not ids:
            raise ValueError("the completion has no token to learn from.")
        limit = self.limits.completion
        return ids if len(ids) <= limit else self.limits.long_completion(ids, limit)

    def collect(
        self, rows: exchange.Readable, make: Callable[[int], Encoded | None], *, max_bad_fraction: float
    ) -> tuple[list[Encoded], EncodeReport]:
        """What `make` gives for each row's number, None left out, and the report.

        Of several processes each makes its part of the rows, and all get all of them; all must call.

        Raises:
            ValueError: more than `max_bad_fraction` of the rows are bad (the first one is named), or none is left, or
                all rows compare what is the same; or that is no share; or processes read different rows. In every
                process.
        """
        if not 0 <= max_bad_fraction <= 1:
            raise ValueError(f"max_bad_fraction={max_bad_fraction} is no share of the rows: give one from 0 to 1.")
        exchange.check_same(rows)
        allowed, bad, made = max_bad_fraction * len(rows), {}, {}
        for index in exchange.own(len(rows)):
            try:
                made[index] = make(index)
            except ValueError as error:
                bad[index] = str(error)
            if len(bad) > allowed:
                break  # of all rows there are no fewer
        parts = exchange.everyones(({k: x for k, x in made.items() if x is not None}, bad, self._counts))
        bad = {index: told for _, bad, _ in parts for index, told in bad.items()}
        _refuse_bad(bad, allowed, max_bad_fraction)
        made = {index: row for made, _, _ in parts for index, row in made.items()}
        if not made:
            raise ValueError(
                f"none of the {len(rows)} rows is fit and within the limits of {self.limits.prompt} prompt and"
                f" {self.limits.completion} completion tokens: "
                + (f"row {min(bad)}: {bad[min(bad)]}" if bad else "raise these.")
            )
        counts = sum((counts for _, _, counts in parts), collections.Counter(bad=len(bad)))
        report = EncodeReport(**{field.name: counts[field.name] for field in dataclasses.fields(EncodeReport)})
        if report.equal == report.rows:
            raise ValueError(
                f"in all {report.rows} rows the completions are the same tokens within the limit of"
                f" {self.limits.completion}, so that nothing is preferred: raise the limit, or mend the data."
            )
        return [made[index] for index in sorted(made)], report


def _refuse_bad(bad: Mapping[int, str], allowed: float, max_bad_fraction: float) -> None:
    """Refuse more bad rows than are allowed in the words of a single process, which stops at the first too many.

    Several have found all up to that one: each stops where its own are too many.
    """
    if len(bad) <= allowed:
        return
    indices = sorted(bad)[: int(allowed) + 1]
    raise ValueError(
        f"row {indices[0]}: {bad[indices[0]]} (Bad rows: {len(indices)} of the first {indices[-1] + 1}; allowed:"
        f" {max_bad_fraction:g}.)"
    )


def group(tokenizer: Tokenizer, prompt: fields.Prompt, completions: Sequence[str]) -> tuple[Ids, list[Ids]]:
    """Ids of a prompt and of its completions: text is encoded apart, messages go through the chat template."""
    if not all(text.strip() for text in completions):
        raise ValueError("the completion is empty.")
    if isinstance(prompt, str):
        return tokenizer.render_prompt(prompt), [tokenizer.render_completion(text) for text in completions]
    rendered = [tokenizer.render_example([*prompt, {"role": "assistant", "content": text}]) for text in completions]
    if any(other != rendered[0][0] for other, _ in rendered):
        raise ValueError("the chat template renders the prompt differently for different completions.")
    return rendered[0][0], [ids for _, ids in rendered]
