"""Rankings: token rows with up to `group_size` completions, best first; shorter ones leave the last places empty."""

from collections.abc import Callable

from posttrain_jax.data import encode as encoding
from posttrain_jax.data import fields, source


def encode(
    rows: source.Rows,
    read: Callable[[source.Row], fields.Ranking],
    tokenizer: encoding.Tokenizer,
    limits: encoding.Limits,
    *,
    group_size: int,
    max_bad_fraction: float = 0.0,
) -> tuple[list[encoding.TokenRow], encoding.EncodeReport]:
    """Token rows of `rows`, and what was cut or left out; with scores, a column `scores` (0 in empty places).

    Args:
        rows: examples.
        read: from a row to its ranking: `RankingFields` or any function.
        tokenizer: of the model.
        limits: in tokens, with the policies for longer text.
        group_size: places for completions; a longer ranking does not fit.
        max_bad_fraction: share of the rows that may be unfit and is left out and counted; with 0 the first is an error.
    """
    tally = encoding.Tally(limits, tokenizer)

    def make(index: int) -> encoding.TokenRow | None:
        example = read(rows[index])
        count = len(example.completions)
        if count > group_size:
            raise ValueError(f"{count} completions do not fit into a group_size of {group_size}: raise it.")
        prompt, completions = encoding.group(tokenizer, example.prompt, example.completions)
        columns = {} if example.scores is None else {"scores": [*example.scores, *[0.0] * (group_size - count)]}
        return tally.fit(index, prompt, completions, columns)

    return tally.collect(rows, make, max_bad_fraction=max_bad_fraction)
