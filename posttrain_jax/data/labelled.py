"""Unpaired preferences: token rows with one completion, and the column `desirable` (1 or 0) that KTO and BCO read."""

from collections.abc import Callable

from posttrain_jax.data import encode as encoding
from posttrain_jax.data import fields, source


def encode(
    rows: source.Rows,
    read: Callable[[source.Row], fields.Labelled],
    tokenizer: encoding.Tokenizer,
    limits: encoding.Limits,
    *,
    max_bad_fraction: float = 0.0,
) -> tuple[list[encoding.TokenRow], encoding.EncodeReport]:
    """Token rows of `rows`, and what was cut or left out.

    Args:
        rows: examples.
        read: from a row to its completion and label: `LabelledFields` or any function.
        tokenizer: of the model.
        limits: in tokens, with the policies for longer text.
        max_bad_fraction: share of the rows that may be unfit and is left out and counted; with 0 the first is an error.
    """
    tally = encoding.Tally(limits, tokenizer)

    def make(index: int) -> encoding.TokenRow | None:
        example = read(rows[index])
        prompt, completions = encoding.group(tokenizer, example.prompt, [example.completion])
        return tally.fit(index, prompt, completions, {"desirable": float(example.desirable)})

    return tally.collect(rows, make, max_bad_fraction=max_bad_fraction)
