"""Dialogues in which it is known what the policy ought to say: each turn becomes a prompt of its own.

Source: the unrolled questions of R1-Router (Peng et al. 2025, Step-GRPO, arXiv:2505.22095), with the replies of an
environment in the place of a stored history.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from posttrain_jax.environment import dialogue
from posttrain_jax.rewards import sample
from posttrain_jax.rollout import frame as frames


def unroll(
    environment: dialogue.Environment,
    example: Mapping[str, Any],
    said: Sequence[str],
    frame: frames.Frame = frames.NOTHING,
    *,
    prompt: str = "prompt",
    answer: str = "answer",
) -> list[dict[str, Any]]:
    """A row for each turn: all that was said before it and replied is its prompt, and it is the answer.

    Learned from with `dialogue.end` as the environment, every completion is one turn, every turn of every question is
    a group, and no turn is credited with what follows it: Step-GRPO. A question of one turn stays as it is.

    Args:
        environment: which replies to what is said; it is asked in this process.
        example: a row of the data; all of it is in each row, with `step` and `steps`, the turn's number and how many.
        said: what the policy ought to say, turn by turn, as the environment reads it: with the text that ends a turn
            (`]`). An EOS behind a turn is no text, and would be missing from the prompts.
        frame: what stands around each reply, as in `turn.Turns`.
        prompt: the field of the prompt, which is text as the model reads it (of a chat template: rendered).
        answer: the field into which the turn is put.

    Raises:
        ValueError: the environment ends the dialogue before all is said.
    """
    rows, turns, memory, history = [], (), None, example[prompt]
    for number, text in enumerate(said):
        rows.append({**example, prompt: history, answer: text, "step": number, "steps": len(said)})
        turns = (*turns, sample.Turn(text))
        reply = environment(dialogue.Dialogue(example, turns, memory))
        if reply.text is None:
            if number + 1 < len(said):
                raise ValueError(
                    f"the environment ends the dialogue at {text!r}, and {said[number + 1]!r} was to come."
                )
            break
        framed = frame.before + reply.text + frame.after
        turns, memory = (*turns[:-1], sample.Turn(text, framed)), reply.memory
        history += text + framed
    return rows
