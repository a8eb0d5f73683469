"""Completions of several prompts in one row: what the prompts share is the row's, the rest begins the completions.

A preference between prompts, or a text that is learned after another prompt than the pair beside it, then needs no
second row: each completion attends to exactly the tokens that it would attend to alone. What begins a completion is
outside the mask.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from posttrain_jax.data import column, fields
from posttrain_jax.data import encode as encoding

RATIONALE = """{prompt}

Answer A: {chosen}

Answer B: {rejected}

Why is answer A better than answer B?
"""
"""A prompt for a rationale (ours), after which it is learned."""

BETTER = """{prompt}

Answer: {completion}

Rewrite the answer into a better one: more helpful, more correct, more coherent and more concise.
"""
"""A prompt (ours) under which good tokens of the completion are likelier than under WORSE: T-REG's contrast."""

WORSE = """{prompt}

Answer: {completion}

Rewrite the answer into a worse one: less helpful, less correct, less coherent and less concise.
"""
"""The other one."""


def join(index: int, parts: Sequence[tuple[encoding.Ids, encoding.Ids]]) -> encoding.TokenRow:
    """One row of completions after prompts of their own.

    Args:
        index: of the source row.
        parts: prompt and completion of each place, in tokens; an empty completion leaves its place empty.

    Raises:
        ValueError: the prompts share no first token.
    """
    prompts = [prompt for prompt, completion in parts if completion]
    alike = (len(set(tokens)) == 1 for tokens in zip(*prompts, strict=False))
    shared = sum(itertools.takewhile(bool, alike))
    if shared == 0:
        raise ValueError("the prompts share no first token, and an empty prompt predicts nothing: begin with a BOS.")
    rest = [prompt[shared:] if completion else [] for prompt, completion in parts]
    joined = (own + completion for own, (_, completion) in zip(rest, parts, strict=True))
    return encoding.TokenRow(
        prompt=np.asarray(prompts[0][:shared], np.int32),
        completions=tuple(np.asarray(ids, np.int32) for ids in joined),
        index=index,
        given=tuple(len(own) for own in rest),
    )


def with_rationale(
    index: int, preference: fields.Preference, rationale: str, tokenizer: encoding.Tokenizer
) -> encoding.TokenRow:
    """The row of `RationalePO`: chosen, rejected, and the rationale after RATIONALE; an empty one leaves it out.

    Raises:
        ValueError: the prompt is not text.
    """
    if not isinstance(preference.prompt, str):
        raise ValueError("a rationale's prompt is made from text: render the messages first.")
    asked = RATIONALE.format(prompt=preference.prompt, chosen=preference.chosen, rejected=preference.rejected)
    prompt = tokenizer.render_prompt(preference.prompt)
    pair = [(prompt, tokenizer.render_completion(text)) for text in (preference.chosen, preference.rejected)]
    why = tokenizer.render_completion(rationale) if rationale.strip() else []
    return join(index, [*pair, (tokenizer.render_prompt(asked), why)])


def contrast(
    preference: fields.Preference, tokenizer: encoding.Tokenizer, *, width: int
) -> tuple[Float[np.ndarray, "K S"], Float[np.ndarray, "K S"]]:
    """T-REG's columns `better_prompt` and `worse_prompt` of a pair: BETTER and WORSE about each completion.

    Args:
        preference: with a prompt of text.
        tokenizer: of the model.
        width: of the columns, in tokens.

    Raises:
        ValueError: the prompt is not text, or a prompt does not go into the column.
    """
    prompt = preference.prompt
    if not isinstance(prompt, str):
        raise ValueError("prompts about an answer are made from text: render the messages first.")

    def one(template: str) -> Float[np.ndarray, "K S"]:
        asked = (template.format(prompt=prompt, completion=text) for text in (preference.chosen, preference.rejected))
        return np.stack([column.prompt(tokenizer.render_prompt(text), width) for text in asked])

    return one(BETTER), one(WORSE)
