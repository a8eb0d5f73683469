"""Which fields of a row hold what: explicit maps from rows to prompts, demonstrations, preferences, labels, rankings.

Each raises ValueError for a row that does not fit; who calls it knows, and names, the row.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]
Prompt = str | Sequence[Message]
"""Plain text, or the messages of a conversation, for the chat template."""


@dataclasses.dataclass(frozen=True)
class Demonstration:
    """A prompt and the completion to imitate."""

    prompt: Prompt
    completion: str


@dataclasses.dataclass(frozen=True)
class Preference:
    """A prompt and two completions, the first preferred."""

    prompt: Prompt
    chosen: str
    rejected: str
    columns: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)
    """What recipes read beside, by name: a number for each completion."""


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A prompt, one completion, and whether it is desirable."""

    prompt: Prompt
    completion: str
    desirable: bool


@dataclasses.dataclass(frozen=True)
class Ranking:
    """A prompt and its completions, best first; with their scores, where the data have them."""

    prompt: Prompt
    completions: Sequence[str]
    scores: Sequence[float] | None


@dataclasses.dataclass(frozen=True)
class PromptFields:
    """Where a row's prompt is: text or a list of messages."""

    name: str = "prompt"
    template: str = "{prompt}"
    """What a text prompt becomes, `{prompt}` standing for it. Message lists are left as they are."""
    chat: bool = False
    """Give a text prompt to the chat template, as the one message of a user."""

    def __post_init__(self):
        if "{prompt}" not in self.template:
            raise ValueError(
                f"template {self.template!r} does not say where {{prompt}} stands: all prompts would be one."
            )

    def __call__(self, row: Mapping[str, Any]) -> Prompt:
        """The row's prompt."""
        prompt = entry(row, self.name)
        if not isinstance(prompt, str):
            return _messages(prompt, self.name)
        prompt = self.template.replace("{prompt}", prompt)
        return [{"role": "user", "content": prompt}] if self.chat else prompt


@dataclasses.dataclass(frozen=True)
class DemonstrationFields:
    """A prompt and a completion; `DemonstrationFields(PromptFields("question"), "answer")` reads GSM8K."""

    prompt: PromptFields = PromptFields()
    completion: str = "completion"

    def __call__(self, row: Mapping[str, Any]) -> Demonstration:
        """The row's demonstration."""
        return Demonstration(self.prompt(row), text(row, self.completion))


@dataclasses.dataclass(frozen=True)
class ConversationFields:
    """A whole conversation as messages: its last message, the assistant's, is the completion."""

    messages: str = "messages"

    def __call__(self, row: Mapping[str, Any]) -> Demonstration:
        """The row's demonstration."""
        return Demonstration(*_last_turn(entry(row, self.messages), self.messages))


@dataclasses.dataclass(frozen=True)
class PreferenceFields:
    """A prompt, a preferred and a rejected completion."""

    prompt: PromptFields = PromptFields()
    chosen: str = "chosen"
    rejected: str = "rejected"
    scores: tuple[str, str] | None = None
    """Fields of both completions' scores, for recipes that read the column `scores`."""
    win_rates: tuple[str, str] | None = None
    """Fields of the probabilities that each beats a sample, for recipes that read the column `win_rates`."""

    def __call__(self, row: Mapping[str, Any]) -> Preference:
        """The row's preference."""
        named = {"scores": self.scores, "win_rates": self.win_rates}
        columns = {name: [number(row, one) for one in given] for name, given in named.items() if given is not None}
        if not all(0 <= rate <= 1 for rate in columns.get("win_rates", ())):
            raise ValueError(f"fields {self.win_rates} hold {columns['win_rates']}: a win rate is from 0 to 1.")
        return Preference(self.prompt(row), text(row, self.chosen), text(row, self.rejected), columns)


@dataclasses.dataclass(frozen=True)
class LabelledFields:
    """A prompt, a completion and its label: true or false, 1 or 0."""

    prompt: PromptFields = PromptFields()
    completion: str = "completion"
    label: str = "label"

    def __call__(self, row: Mapping[str, Any]) -> Labelled:
        """The row's completion and label."""
        label = entry(row, self.label)
        if label not in (True, False):
            raise ValueError(f"field {self.label!r} holds {label!r:.60}: a label is true or false, 1 or 0.")
        return Labelled(self.prompt(row), text(row, self.completion), bool(label))


@dataclasses.dataclass(frozen=True)
class RankingFields:
    """A prompt and a list of completions: best first, or in any order with a list of scores to sort them by."""

    prompt: PromptFields = PromptFields()
    completions: str = "completions"
    scores: str | None = None

    def __call__(self, row: Mapping[str, Any]) -> Ranking:
        """The row's ranking.

        Raises:
            ValueError: not lists of the same length, of text and of numbers; or two scores are equal, so that neither
                is better.
        """
        completions = entry(row, self.completions)
        if not isinstance(completions, Sequence) or isinstance(completions, str) or len(completions) < 2:
            raise ValueError(f"field {self.completions!r} holds {completions!r:.60}, not a list of two or more texts.")
        texts = [text({self.completions: one}, self.completions) for one in completions]
        if self.scores is None:
            return Ranking(self.prompt(row), texts, None)
        told = entry(row, self.scores)
        if not isinstance(told, Sequence) or isinstance(told, str):
            raise ValueError(f"field {self.scores!r} holds {told!r:.60}, not a list of numbers.")
        scores = [number({self.scores: one}, self.scores) for one in told]
        if len(scores) != len(texts) or len(set(scores)) != len(scores):
            raise ValueError(f"field {self.scores!r} holds {scores!r:.60}: give {len(texts)} scores that all differ.")
        order = sorted(range(len(scores)), key=lambda place: -scores[place])
        return Ranking(self.prompt(row), [texts[place] for place in order], [scores[place] for place in order])


@dataclasses.dataclass(frozen=True)
class ConversationPreferenceFields:
    """Two conversations as messages that differ in their last message, the assistant's."""

    chosen: str = "chosen"
    rejected: str = "rejected"

    def __call__(self, row: Mapping[str, Any]) -> Preference:
        """The row's preference."""
        prompt, chosen = _last_turn(entry(row, self.chosen), self.chosen)
        other, rejected = _last_turn(entry(row, self.rejected), self.rejected)
        _check_same(prompt, other, self.chosen, self.rejected)
        return Preference(prompt, chosen, rejected)


@dataclasses.dataclass(frozen=True)
class DialoguePreferenceFields:
    """Two whole dialogues as text (Anthropic HH) that differ after the last `turn`, which the prompt keeps."""

    chosen: str = "chosen"
    rejected: str = "rejected"
    turn: str = "\n\nAssistant:"

    def __call__(self, row: Mapping[str, Any]) -> Preference:
        """The row's preference."""
        prompt, chosen = self._split(row, self.chosen)
        other, rejected = self._split(row, self.rejected)
        _check_same(prompt, other, self.chosen, self.rejected)
        return Preference(prompt, chosen, rejected)

    def _split(self, row: Mapping[str, Any], name: str) -> tuple[str, str]:
        prompt, turn, completion = text(row, name).rpartition(self.turn)
        if not turn:
            raise ValueError(f"field {name!r} has no turn {self.turn!r}, so it is no whole dialogue.")
        return prompt + turn, completion


def entry(row: Mapping[str, Any], name: str) -> Any:
    """The field `name` of a row."""
    if name not in row:
        raise ValueError(f"there is no field {name!r}; the row has {', '.join(map(repr, row))}: name one of those.")
    return row[name]


def text(row: Mapping[str, Any], name: str) -> str:
    """The field `name` of a row, which must be text."""
    value = entry(row, name)
    if not isinstance(value, str):
        raise ValueError(f"field {name!r} holds {type(value).__name__} {value!r:.60}, not text.")
    return value


def number(row: Mapping[str, Any], name: str) -> float:
    """The field `name` of a row, which must be a finite number."""
    value = entry(row, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"field {name!r} holds {type(value).__name__} {value!r:.60}, not a finite number.")
    return float(value)


def _messages(value: Any, name: str) -> list[Message]:
    fine = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
    if not fine or not all(isinstance(item, Mapping) and "role" in item and "content" in item for item in value):
        raise ValueError(f"field {name!r} holds {value!r:.60}, neither text nor messages with role and content.")
    return list(value)


def _last_turn(value: Any, name: str) -> tuple[list[Message], str]:
    *prompt, last = _messages(value, name)
    if last["role"] != "assistant" or not prompt or not isinstance(last["content"], str):
        raise ValueError(f"field {name!r} must end with an assistant's message of text after a user's.")
    return prompt, last["content"]


def _check_same(prompt: Prompt, other: Prompt, chosen: str, rejected: str) -> None:
    if prompt != other:
        raise ValueError(f"{chosen!r} and {rejected!r} differ before their last turn.")
