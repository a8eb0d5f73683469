"""What stands around a reply: what a chat template writes between two turns of the policy."""

import dataclasses

from posttrain_jax.models import tokenizer

ANSWER, REPLY = "8c1f5e", "e5f1c8"
"""Texts that no template contains."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """Text before and after a reply; special tokens in it are read as such. None of it is learned."""

    before: str = ""
    after: str = ""


NOTHING = Frame()


def of_template(words: tokenizer.Tokenizer, *, role: str = "tool") -> Frame:
    """What the chat template writes around a message of `role`, up to where the policy speaks again.

    It begins behind the token that ends the policy's turn, which the policy drew itself: what a template writes behind
    that token (a line break) belongs to the frame.

    Raises:
        ValueError: the template refuses such a dialogue, writes the turn before differently once a reply follows, or
            leaves the reply out or writes it twice.
    """
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": ANSWER}]
    alone = words.chat(turns, add_generation_prompt=False)
    whole = words.chat([*turns, {"role": role, "content": REPLY}], add_generation_prompt=True)
    end = alone.rindex(ANSWER) + len(ANSWER)
    stops = [words.decode([token], keep_special=True) for token in words.stop_ids]
    found = [place + len(stop) for stop in stops if (place := alone.find(stop, end)) >= 0]
    end = min(found, default=end)
    if whole[:end] != alone[:end]:
        raise ValueError(
            "the chat template writes a turn differently once a reply follows, so that no text can be put behind it:"
            " give the frame yourself."
        )
    parts = whole[end:].split(REPLY)
    if len(parts) != 2:
        raise ValueError(
            f"the chat template writes a message of the role {role!r} {len(parts) - 1} times: give the role that it"
            " knows, or the frame yourself."
        )
    return Frame(*parts)
