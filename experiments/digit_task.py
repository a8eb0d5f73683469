"""Twelve things to do with three digits, one right for each instruction: what `policy_arena` trains on.

A prompt is an instruction and three digits, a completion digits and an end token. The start knows all twelve rules, and
follows the right one in 20 %, 3 % or 0.5 % of its answers, by instruction: which rule is meant is to be learned.
"""

import itertools

import jax.numpy as jnp
import numpy as np

from posttrain_jax import types
from posttrain_jax.losses import segment

STOP, LENGTH, WORDS = 10, 5, 11
RULES = {
    "as they are": lambda a, b, c: (a, b, c),
    "backward": lambda a, b, c: (c, b, a),
    "ascending": lambda *x: sorted(x),
    "largest": lambda *x: [max(x)],
    "turned left": lambda a, b, c: (b, c, a),
    "one more each": lambda *x: [(d + 1) % 10 for d in x],
    "descending": lambda *x: sorted(x)[::-1],
    "sum": lambda *x: [sum(x) % 10],
    "nine less each": lambda *x: [9 - d for d in x],
    "smallest": lambda *x: [min(x)],
    "first and last": lambda a, b, c: (a, c),
    "last two": lambda a, b, c: (b, c),
}
TASKS = len(RULES)
SHARES = np.tile([0.2, 0.03, 0.005], TASKS // 3)
"""Of the start's answers, those by the right rule."""
INPUTS = np.array(list(itertools.product(range(10), repeat=3)))
SAYS = np.array([[([*rule(*x.tolist()), *[STOP] * LENGTH])[:LENGTH] for rule in RULES.values()] for x in INPUTS])
"""What each rule says of each input [1000, rules, places]."""
SHUFFLED = np.random.default_rng(0).permutation(len(INPUTS))


def prompts(inputs) -> np.ndarray:
    """All instructions for these inputs: numbers of prompts."""
    return (np.arange(TASKS)[:, None] * len(INPUTS) + inputs).reshape(-1)


TRAIN, HELD_OUT = prompts(SHUFFLED[:30]), prompts(SHUFFLED[500:520])


def answers(numbers):
    """The right words [P, T] for prompts."""
    return jnp.asarray(SAYS)[numbers % len(INPUTS), numbers // len(INPUTS)]


def groups_of(numbers, words) -> types.Groups:
    """Rows of completions, cut behind their end; every prompt is a group."""
    ended = jnp.any(words == STOP, axis=-1)
    lengths = jnp.where(ended, jnp.argmax(words == STOP, axis=-1) + 1, LENGTH)
    mask = jnp.arange(LENGTH)[None, None] < lengths[..., None]
    tokens = jnp.concatenate([numbers[:, None] // len(INPUTS), jnp.asarray(INPUTS)[numbers % len(INPUTS)]], axis=1)
    return types.Groups(tokens, jnp.full(len(numbers), 4), jnp.where(mask, words, 0), lengths, mask, numbers)


def judged(groups: types.Groups):
    """Rewards by name, and every token as a step that earns 1 where it is right."""
    words, mask = groups.completions, groups.completion_mask
    hits = mask & (words == answers(groups.group_ids)[:, None])
    ended = jnp.any(mask & (words == STOP), axis=-1)
    right = jnp.all(hits | ~mask, axis=-1) & ended
    columns = {"right": right, "tokens right": jnp.sum(hits, -1) / groups.completion_lengths, "ended": ended}
    columns |= {"one word": groups.completion_lengths == 2, "wrong": ~right}
    columns |= {"kind": jnp.zeros_like(right)}
    ids = jnp.where(mask, jnp.arange(LENGTH)[None, None], -1)
    earned = jnp.where(mask, hits.astype(jnp.float32), jnp.nan)
    steps = types.Segments(ids, earned, segment.prefix(words, ids, mask, LENGTH))
    return {name: x.astype(jnp.float32) for name, x in columns.items()}, steps
