"""A thought that takes too long is brought to its end, and the answer follows."""

import dataclasses

from posttrain_jax.environment import dialogue


@dataclasses.dataclass(frozen=True)
class Interruption:
    """Forced interruption: a turn without the end of a thought is told to answer, in words that are not learned.

    With `Turns(Host(Interruption(...)), limit=2, turn_tokens=...)`: thoughts have `turn_tokens` tokens, and the answer
    what is left of `Sampling.max_new_tokens`. A turn that ended its thought is replied to by `of`.

    Differs from the paper: the budget is one number, where it is drawn between 10,240 and 12,288 tokens.

    Source: Khatri et al. 2025 (ScaleRL, arXiv:2510.13786).
    """

    phrase: str
    """What is put behind the thought, with what ends it: "Time is up, so I answer.</think>"."""
    thought_end: str = "</think>"
    """What a thought ends with."""
    of: dialogue.Environment = dialogue.end
    """Replies to all other turns."""

    def __post_init__(self):
        if self.thought_end not in self.phrase:
            raise ValueError(f"the phrase {self.phrase!r} does not hold {self.thought_end!r}: the thought would go on.")

    def __call__(self, asked: dialogue.Dialogue) -> dialogue.Reply:
        """The phrase, or what the other environment says."""
        if any(self.thought_end in turn.text + turn.reply for turn in asked.turns):
            return self.of(asked)
        return dialogue.Reply(self.phrase, memory=asked.memory)
