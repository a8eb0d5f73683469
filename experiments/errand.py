"""Sums of digits and of names whose numbers only a tool knows, and someone who shows carelessly how to do them.

a+7=     ?a]   -> 52;      52+7]   -> 59;      59

What is asked for is the whole dialogue (`Whole`) or, as in Step-GRPO, every turn behind those before it (`Step`).
"""

import dataclasses
import random
import re

from posttrain_jax.environment import calculator, dialogue, lookup, toolbox
from posttrain_jax.rewards import combine, exact_match, tool_call
from posttrain_jax.rewards import dialogue as talking
from posttrain_jax.rollout import frame, rehearsal

NAMES = "abcdefgh"
RIGHT = combine.WeightedRewards({"right": (1.0, talking.LastTurn(exact_match.ExactMatch()))})
FRAME = frame.Frame(after=";")


def calls(text: str) -> list[tool_call.Call] | None:
    """`?c]` looks c up, `37+5]` calculates; what ends otherwise is an answer."""
    if not text.endswith("]"):
        return []
    if found := re.fullmatch(r"\?(.)\]", text):
        return [tool_call.Call("lookup", {"name": found[1]})]
    return [tool_call.Call("calculator", {"expression": text[:-1]})]


BOX = toolbox.Toolbox({"lookup": lookup.Lookup(), "calculator": calculator.calculate}, calls)


def question(draw: random.Random) -> dict:
    """A sum of two digits or names; what names stand for is in a table that only the tool sees."""
    table = {name: str(draw.randint(10, 99)) for name in NAMES}
    terms = [draw.choice([draw.choice(NAMES), str(draw.randint(1, 9))]) for _ in range(2)]
    answer = str(sum(int(table.get(term, term)) for term in terms))
    return {"prompt": "+".join(terms) + "=", "terms": terms, "table": table, "answer": answer}


def shown(rows: list[dict], draw: random.Random) -> list[dict]:
    """What someone careless does with each, a row for each turn."""
    return [turn for row in rows for turn in rehearsal.unroll(BOX, row, careless(row, draw), FRAME)]


def careless(row: dict, draw: random.Random) -> list[str]:
    """What someone says who looks things up twice, seldom calculates, and guesses."""
    names = [term for term in row["terms"] if term in NAMES and draw.random() < 0.8]
    said = [f"?{name}]" for name in names for _ in range(draw.choice([1, 1, 2]))]
    said += [known(row) + "]"] * (draw.random() < 0.4)
    return [*said, row["answer"]]


def reply(asked: dialogue.Dialogue) -> dialogue.Reply:
    """The tools'; to a step of Step-GRPO, which is one turn, nobody replies."""
    return dialogue.end(asked) if "step" in asked.example else BOX(asked)


def careful(row: dict) -> list[str]:
    """What someone says who looks up all names, once, and calculates."""
    names = [f"?{term}]" for term in dict.fromkeys(row["terms"]) if term in NAMES]
    return [*names, known(row) + "]", row["answer"]]


def known(row: dict) -> str:
    """The sum in numbers."""
    return "+".join(row["table"].get(term, term) for term in row["terms"])


@dataclasses.dataclass(frozen=True)
class Whole:
    """Questions are asked, and whole dialogues rewarded."""

    def asked(self, rows: list[dict]) -> list[dict]:
        """The questions."""
        return rows


@dataclasses.dataclass(frozen=True)
class Step:
    """Step-GRPO: every turn of someone careful is asked for behind those before it, and rewarded alone."""

    def asked(self, rows: list[dict]) -> list[dict]:
        """The turns."""
        return [turn for row in rows for turn in rehearsal.unroll(BOX, row, careful(row), FRAME)]
