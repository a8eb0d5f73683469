"""A tokenizer that does not give back what it decoded, and environments for dialogues in tests."""

import dataclasses
from collections.abc import Callable

import tokenizers
from tokenizers import decoders, models

from posttrain_jax.environment import dialogue
from posttrain_jax.models import tokenizer, vocabulary

MERGES = [("a", "b"), ("1", "2"), ("a", "ab")]
LETTERS = ["<pad>", "<bos>", "<eos>", "a", "b", "]", ";", "1", "2", "3", "x", "=", *("".join(pair) for pair in MERGES)]
WORDS = LETTERS + [chr(0x4E00 + i) for i in range(64 - len(LETTERS))]
"""64 tokens: of "a", "b" the policy may write "ab" in two, and encoding gives it in one."""
END = LETTERS.index("]")


def words() -> tokenizer.Tokenizer:
    backend = tokenizers.Tokenizer(models.BPE({word: i for i, word in enumerate(WORDS)}, MERGES))
    backend.decoder = decoders.Fuse()
    return vocabulary.wrap(backend, pad="<pad>", bos="<bos>", eos="<eos>")


@dataclasses.dataclass(frozen=True)
class Echo:
    """Replies `text` to the first turns, and ends the dialogue after those; each reply is one call."""

    replies: int
    text: str = "12;"
    heard: Callable[[dialogue.Dialogue], None] = lambda asked: None
    """Sees every dialogue."""

    def __call__(self, asked: dialogue.Dialogue) -> dialogue.Reply:
        self.heard(asked)
        number = len(asked.turns)
        if number > self.replies:
            return dialogue.Reply(None, reward=10.0)
        return dialogue.Reply(self.text, reward=float(number), calls=1, errors=int(number == 2), state=f"{number}")
