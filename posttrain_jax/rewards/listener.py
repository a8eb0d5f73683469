"""Does a second model, told the thought alone, come to the right choice?"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from posttrain_jax.rewards import sample as samples

Listen = Callable[[str, str], Sequence[float]]
"""From prompt and thought to a score for each choice, in nats: a frozen model's logits or log-probabilities."""


def thought(text: str) -> str | None:
    """What stands before the end of the thought; None where it never ends."""
    found, end, _ = text.rpartition("</think>")
    return found.removeprefix("<think>").strip() if end else None


@dataclasses.dataclass(frozen=True)
class Listener:
    """softmax(the listener's scores)[gold]: how probable the right choice is to one who hears the thought only.

    Normalised over the choices, so that it is a probability among them. 0 where there is no thought. A thought that
    says the answer makes it trivial: take sentences that restate it out with `thought` of your own. A listener that
    is always undecided adds a constant, which advantages within groups do not see. The reward of the paper is
    `{"form": (1.0, ...), "correct": (0.5, ...), "listener": (0.5, Listener(...))}`.

    Source: Gambashidze et al. 2025 (arXiv:2506.22832); weights and form are those of three descriptions that agree,
    the authors' code was not found.
    """

    listen: Listen
    gold_field: str = "gold"
    """In the example: the place of the right choice, from 0."""
    thought: Callable[[str], str | None] = thought
    """From the completion to what the listener hears."""

    def __call__(self, sample: samples.Sample) -> float:
        """In [0, 1]."""
        heard = self.thought(sample.completion)
        if heard is None:
            return 0.0
        scores = list(self.listen(sample.prompt, heard))
        gold, highest = samples.field(sample, self.gold_field), max(scores)
        shares = [math.exp(score - highest) for score in scores]
        return shares[gold] / sum(shares)
