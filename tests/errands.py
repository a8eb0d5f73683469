"""Two tools and how they are called: `?a]` looks a up, `52+7]` calculates."""

from posttrain_jax.environment import calculator, lookup, toolbox
from posttrain_jax.rewards import tool_call
from posttrain_jax.rollout import frame


def calls(text):
    if not text.endswith("]"):
        return []
    name, argument = ("lookup", {"name": text[1:-1]}) if text[0] == "?" else ("calculator", {"expression": text[:-1]})
    return [tool_call.Call(name, argument)]


BOX = toolbox.Toolbox({"lookup": lookup.Lookup(), "calculator": calculator.calculate}, calls)
FRAME = frame.Frame("(", ")")
