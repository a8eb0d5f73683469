"""Where runs of token ids stand in completions: what ends a thought, what encloses an answer.

A run is found where a tokenizer always writes its text with these ids: tags that are tokens of their own.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


def starts(completions: Int[Array, "P G T"], mask: Bool[Array, "P G T"], run: tuple[int, ...]) -> Bool[Array, "P G T"]:
    """Where the run begins, all of it being counted tokens."""
    found = jnp.ones(mask.shape, bool)
    for place, token in enumerate(run):
        there = (completions == token) & mask
        behind = jnp.pad(there, ((0, 0), (0, 0), (0, place)))[:, :, place:]
        found &= behind
    return found


def first(
    completions: Int[Array, "P G T"], mask: Bool[Array, "P G T"], lengths: Int[Array, "P G"], run: tuple[int, ...]
) -> Int[Array, "P G"]:
    """The position of the first token of the first such run; the completion's length where there is none."""
    found = starts(completions, mask, run)
    return jnp.where(jnp.any(found, axis=-1), jnp.argmax(found, axis=-1).astype(lengths.dtype), lengths)


def between(
    completions: Int[Array, "P G T"], mask: Bool[Array, "P G T"], opening: tuple[int, ...], closing: tuple[int, ...]
) -> Bool[Array, "P G T"]:
    """The counted tokens strictly inside the last complete pair of runs; none where there is no pair."""
    places = jnp.arange(mask.shape[-1])[None, None]
    close = jnp.max(jnp.where(starts(completions, mask, closing), places, -1), axis=-1, keepdims=True)
    ends = places + len(opening)
    opened = starts(completions, mask, opening) & (ends <= close)
    begin = jnp.max(jnp.where(opened, ends, -1), axis=-1, keepdims=True)
    return mask & (begin >= 0) & (places >= begin) & (places < close)
