"""Texts that show two answers at once, for models that judge: pair reward models, and judges that give a verdict."""

import numpy as np

from posttrain_jax.data import encode as encoding
from posttrain_jax.data import fields

BOTH = """

Answer A: {first}

Answer B: {second}

Which answer is better?"""
"""What follows the prompt (ours)."""


def both_orders(index: int, preference: fields.Preference, tokenizer: encoding.Tokenizer) -> encoding.TokenRow:
    """The row of `PairwisePreference`: BOTH behind the prompt, with the chosen answer first and with it second.

    Args:
        index: of the source row.
        preference: with a prompt of text.
        tokenizer: of the model.

    Raises:
        ValueError: the prompt is not text.
    """
    orders = [(preference.chosen, preference.rejected), (preference.rejected, preference.chosen)]
    completions = [tokenizer.render_completion(BOTH.format(first=one, second=two)) for one, two in orders]
    return _row(index, tokenizer.render_prompt(_text(preference)), completions)


def verdicts(
    index: int, preference: fields.Preference, tokenizer: encoding.Tokenizer, *, chosen_first: bool
) -> encoding.TokenRow:
    """The row of `GenerativePreference`: prompt and BOTH, then the right verdict and the wrong one, "A" or "B".

    Args:
        index: of the source row.
        preference: with a prompt of text.
        tokenizer: of the model.
        chosen_first: whether the chosen answer is A: draw it anew for every row, or the judge learns the place.

    Raises:
        ValueError: the prompt is not text.
    """
    first, second = preference.chosen, preference.rejected
    first, second = (first, second) if chosen_first else (second, first)
    prompt = tokenizer.render_prompt(_text(preference) + BOTH.format(first=first, second=second) + " ")
    right, wrong = ("A", "B") if chosen_first else ("B", "A")
    return _row(index, prompt, [tokenizer.render_completion(text) for text in (right, wrong)])


def _text(preference: fields.Preference) -> str:
    if not isinstance(preference.prompt, str):
        raise ValueError("a judge's prompt is made from text: render the messages first.")
    return preference.prompt


def _row(index: int, prompt: encoding.Ids, completions: list[encoding.Ids]) -> encoding.TokenRow:
    return encoding.TokenRow(
        prompt=np.asarray(prompt, np.int32),
        completions=tuple(np.asarray(ids, np.int32) for ids in completions),
        index=index,
    )
