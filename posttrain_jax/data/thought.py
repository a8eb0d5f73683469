"""Demonstrations whose thoughts are sometimes left out, so that a policy can learn when to think.

Source: TON (Think or Not) 2025 (arXiv:2505.16854), as in the authors' code.
"""

import random
import re

EMPTY = "\n\n"
"""What stands between the tags of a thought that was left out; prompts and templates must write the same."""


def drop(text: str, index: int, *, share: float, seed: int, empty: str = EMPTY) -> str:
    """The completion, its thought replaced by `empty` in a share of the rows, chosen by row and seed alone.

    Args:
        text: `<think>...</think>` and what follows.
        index: of the row.
        share: of the rows that lose their thought; the paper's 0.5.
        seed: another one for another pass draws anew.

    Raises:
        ValueError: there is no thought to leave out.
    """
    found = re.match(r"\s*<think>(.*?)</think>", text, re.DOTALL)
    if found is None:
        raise ValueError(f"row {index} has no <think>...</think> to leave out: it begins with {text[:40]!r}.")
    if random.Random(f"{seed} {index}").random() >= share:
        return text
    return text[: found.start(1)] + empty + text[found.end(1) :]
