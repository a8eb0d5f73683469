"""Completions of several turns: the policy speaks, an environment on the host replies, and so on, in one sequence.

The result is an ordinary `Rollout`. Its mask is False on what the environment said; its segments are the turns, each
with the output that answered it; `counts` holds turns, calls and errors of each completion.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Int, Key, PyTree

from posttrain_jax import types
from posttrain_jax.environment import host
from posttrain_jax.models import actor_critic, tokenizer
from posttrain_jax.rewards import sample as samples
from posttrain_jax.rollout import anchor, engine, record, sample
from posttrain_jax.rollout import frame as frames


@dataclasses.dataclass(frozen=True)
class Turns:
    """Who replies to the policy, and how often.

    A turn ends with a stop id of `Sampling`: give it those that end a call beside those that end an answer. What does
    not fit into `max_new_tokens`, which counts everything, is left out, and the completion ends there, truncated.
    """

    host: host.Host
    """Has the environment."""
    limit: int
    """Turns of the policy; a completion that would need more is truncated."""
    output_tokens: int
    """Of a reply with its frame; of longer ones the end is cut."""
    frame: frames.Frame = frames.Frame()
    """Around each reply: `frame.of_template` where there is a chat template."""
    turn_tokens: int | None = None
    """Of a turn of the policy; one that is longer is interrupted there, and replied to. None interrupts none."""
    alike: anchor.Alike = anchor.equal
    """Which replies are one state, for recipes that compare turns of one state: equal ones, or `anchor.Similar()`."""

    def __post_init__(self):
        if self.limit < 1:
            raise ValueError(f"limit={self.limit} turns say nothing: allow at least 1.")
        if self.turn_tokens is not None and self.turn_tokens < 1:
            raise ValueError(f"turn_tokens={self.turn_tokens} leaves the policy no word: allow at least 1.")
        if self.output_tokens < 1:
            raise ValueError(f"output_tokens={self.output_tokens} leave a reply no room: allow at least 1.")


ALONE = "dialogues run in one process, and these are {}: use one host, or completions of one turn."
Compiled = Callable[[str, Callable[..., Any]], Callable[..., Any]]


class Conversation:
    """Draws completions of several turns; three programs, compiled once for each shape of the prompts."""

    def __init__(
        self,
        model: actor_critic.Policy,
        sampling: sample.Sampling,
        group_size: int,
        turns: Turns,
        words: tokenizer.Tokenizer,
        *,
        checked: Compiled = lambda _, stage: stage,
    ):
        """Compile nothing yet.

        Args:
            model, sampling, group_size: as for `generate.make_generate`.
            turns: who replies.
            words: decodes copies of the turns, and encodes replies.
            checked: around each stage, given its name.

        Raises:
            ValueError: several processes; a frame that leaves no room for a reply; see `engine.make_engine`.
        """
        if jax.process_count() > 1:
            raise ValueError(ALONE.format(jax.process_count()))
        stages = engine.make_engine(model, sampling, group_size, turns.output_tokens, turns.turn_tokens)
        self._stages = engine.Engine(*(checked("sampling", stage) for stage in stages))
        self._turns, self._words, self._sampling, self._rows = turns, words, sampling, model.row_sharding
        frame = turns.frame.before, turns.frame.after
        self._before, self._after = (words.encode(text, parse_special=True) for text in frame)
        self._room = turns.output_tokens - len(self._before) - len(self._after)
        if self._room < 1:
            raise ValueError(
                f"output_tokens={turns.output_tokens} is no more than the frame of a reply takes: allow it more."
            )
        self._group_size = group_size

    def __call__(
        self,
        params: PyTree,
        prompts: Int[Array, "P S"],
        prompt_lengths: Int[Array, "P"],
        group_ids: Int[Array, "P"],
        key: Key[Array, ""],
        examples: Sequence[Mapping[str, Any]],
    ) -> types.Rollout:
        """Completions; `examples` are those of the first rows, and rows without one have empty completions."""
        state = self._stages.begin(params, prompts, prompt_lengths, group_ids, key)
        shape = (len(group_ids), self._group_size, self._sampling.max_new_tokens)
        ids = jax.device_get(group_ids).tolist()
        notes = record.Record(shape, self._turns.limit, examples, ids, self._turns.alike)
        for number in range(self._turns.limit):
            heard = jax.device_put(notes.heard(self._turns.output_tokens), self._rows)
            state = self._stages.speak(params, state, *heard)
            written = state.written
            self._reply(notes, number, *jax.device_get((written.tokens, written.lengths, written.stopped)))
            if not notes.going.any():
                break
        return self._stages.finish(state, prompts, prompt_lengths, group_ids, jax.device_put(notes.told(), self._rows))

    def _reply(self, notes: record.Record, number: int, tokens, lengths, stopped) -> None:
        """Take down the turns that were spoken, and what the environment says to those that ended."""
        asked = {}
        for at in notes.next_turn():
            text = said(self._words, tokens[at][notes.ends[at] : lengths[at]].tolist())
            waits = notes.spoken(at, number, int(lengths[at]), text)
            interrupted = self._turns.turn_tokens is not None and lengths[at] < self._sampling.max_new_tokens
            if stopped[at] or interrupted:
                asked[at] = waits
            else:
                notes.cut(at)
        replies = self._turns.host.replies(list(asked.values()))
        for at, reply in zip(asked, replies, strict=True):
            ids = [] if reply.text is None else self._framed(reply.text)
            notes.replied(at, number, reply, ids, self._words.decode(ids))
            if reply.text is None and not stopped[at]:
                notes.cut(at)

    def _framed(self, text: str) -> list[int]:
        return [*self._before, *self._words.encode(text)[: self._room], *self._after]


def said(words: tokenizer.Tokenizer, ids: Sequence[int]) -> str:
    """The text of a turn of the policy, without the token that ends it where that is the tokenizer's own."""
    ended = bool(ids) and ids[-1] in words.stop_ids
    return words.decode(ids[:-1] if ended else ids, keep_special=True)


def texts(
    words: tokenizer.Tokenizer,
    tokens: Int[np.ndarray, "T"],
    mask: Bool[np.ndarray, "T"],
    ids: Int[np.ndarray, "T"],
) -> tuple[samples.Turn, ...]:
    """The turns of a completion as text, from its tokens, its mask and the number of the turn of each."""
    turns = []
    for number in range(int(ids.max(initial=-1)) + 1):
        own, output = (tokens[(ids == number) & chosen].tolist() for chosen in (mask, ~mask))
        turns.append(samples.Turn(said(words, own), words.decode(output)))
    return tuple(turns)
