"""Text to token ids and back: exactly one BOS, known stop tokens, masks by construction and never from a padding id."""

import dataclasses
import functools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# transformers advises at import to install PyTorch, which nothing here needs.
logging.getLogger("transformers").addFilter(lambda record: "PyTorch was not found" not in record.getMessage())

import jinja2  # noqa: E402
import tokenizers  # noqa: E402
import transformers  # noqa: E402
from tokenizers import models  # noqa: E402

from posttrain_jax.models import settings_file  # noqa: E402

Message = Mapping[str, str]
"""One turn of a dialogue: `role` (system, user, assistant) and `content`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
    """A fast tokenizer and the ids that sampling and masking need; made by `load`, `wrap` or `vocabulary`."""

    pretrained: transformers.PreTrainedTokenizerFast
    bos_id: int | None
    """What every sequence of this model begins with, or None where it uses nothing of the kind."""
    eos_id: int
    """Ends a plain-text completion."""
    stop_ids: tuple[int, ...]
    """Every id at which sampling stops: EOS, those of `generation_config.json`, the chat template's end of turn."""
    pad_id: int
    """Fills rows up. It may equal EOS: masks come from lengths."""

    @functools.cached_property
    def vocab_size(self) -> int:
        """One more than the largest id; the model's vocabulary may be larger (padded), not smaller."""
        return max(self.pretrained.get_vocab().values()) + 1

    @functools.cached_property
    def _alphabet(self) -> frozenset[str] | None:
        """All characters that can be encoded, or None for tokenizers that encode any text."""
        vocab, model = self.pretrained.get_vocab(), self.pretrained.backend_tokenizer.model
        if not isinstance(model, models.WordLevel) or model.unk_token in vocab:
            return None
        return frozenset(token for token in vocab if len(token) == 1)

    def check_vocabulary(self, vocab_size: int) -> None:
        """Refuse a model whose vocabulary is too small: an id beyond it would be looked up as another in silence."""
        if self.vocab_size > vocab_size:
            raise ValueError(
                f"The tokenizer has {self.vocab_size} ids and the model {vocab_size}; "
                f"use the model's own tokenizer, or a model with vocab_size of at least {self.vocab_size}."
            )

    def check_same(self, teacher: "Tokenizer", role: str = "teacher") -> None:
        """Refuse a teacher with another tokenizer: its probabilities would be learned as those of other tokens."""
        own, other = self.pretrained.get_vocab(), teacher.pretrained.get_vocab()
        differing = sorted(token for token in own | other if own.get(token) != other.get(token))
        if differing:
            raise ValueError(
                f"Student and {role} have different tokenizers: {len(differing)} tokens, {differing[0]!r} among them,"
                " are not the same in both; take one with the student's, or train by SFT on the teacher's answers."
            )

    def encode(self, text: str, *, parse_special: bool = False) -> list[int]:
        """Ids of the text and nothing else.

        Args:
            parse_special: whether "<eos>" and the like, standing in the text, become the special token instead of being
                spelled out. Right for text that a template wrote, wrong for data.

        Raises:
            ValueError: the tokenizer knows single characters only, and the text has others; or half of one.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the text holds half of a character, {text[error.start]!r} at {error.start}: mend or remove it."
            ) from error
        unknown = set() if self._alphabet is None or parse_special else set(text) - self._alphabet
        if unknown:
            raise ValueError(
                f"The characters {sorted(unknown)} are not in this tokenizer's alphabet; "
                "take them out of the text, or train with a larger alphabet."
            )
        return self.pretrained.encode(text, add_special_tokens=False, split_special_tokens=not parse_special)

    def decode(self, ids: Sequence[int], *, keep_special: bool = False) -> str:
        """Text of the ids, special tokens left out unless asked for."""
        skip = not keep_special
        return str(self.pretrained.decode(list(ids), skip_special_tokens=skip, clean_up_tokenization_spaces=False))

    def ending(self, text: str) -> tuple[int, ...]:
        """Ids of the tokens that hold `text` (a line break), one as often as it holds it."""
        ids = sorted(self.pretrained.get_vocab().values())
        return tuple(token for token in ids for _ in range(self.decode([token]).count(text)))

    def chat(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """The dialogue as its chat template writes it, special tokens as text.

        Raises:
            ValueError: there is no chat template, or it refuses the dialogue.
        """
        if self.pretrained.chat_template is None:
            raise ValueError("This tokenizer has no chat template; give plain text, or a tokenizer that has one.")
        try:
            return _render(self.pretrained, messages, add_generation_prompt)
        except jinja2.TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ValueError(f"The chat template refuses a dialogue of {roles}: {error}") from error

    def render_prompt(self, prompt: str | Sequence[Message]) -> list[int]:
        """Ids of a plain-text prompt, or of a dialogue with the words that make the assistant answer.

        There is exactly one BOS where the model uses one, whoever wrote it: text, template, or neither.

        Raises:
            ValueError: nothing is left to predict from (an empty text, and no BOS).
        """
        if isinstance(prompt, str):
            ids = self._one_bos(self.encode(prompt.removeprefix(str(self.pretrained.bos_token or ""))))
        else:
            ids = self._one_bos(self.encode(self.chat(prompt, add_generation_prompt=True), parse_special=True))
        if not ids:
            raise ValueError("The prompt is empty and this model uses no BOS; give a prompt of at least one token.")
        return ids

    def render_completion(self, text: str) -> list[int]:
        """Ids of a plain-text completion, EOS at the end."""
        return [*self.encode(text), self.eos_id]

    def render_example(self, messages: Sequence[Message]) -> tuple[list[int], list[int]]:
        """Prompt and completion of a dialogue whose last turn the assistant should learn.

        The completion is what the whole dialogue has beyond the rendered prompt, cut after its last stop token (what a
        template writes behind it is never sampled); EOS is added where the template writes none.

        Raises:
            ValueError: the last turn is not the assistant's, or the rendered prompt does not begin the whole rendering,
                so that no mask can say which tokens the assistant chose; or nothing of the answer is in it.
        """
        if not messages or messages[-1]["role"] != "assistant":
            raise ValueError("The last turn of an example must be the assistant's; cut the dialogue after one.")
        prompt = self.render_prompt(messages[:-1])
        whole = self._one_bos(self.encode(self.chat(messages, add_generation_prompt=False), parse_special=True))
        if whole[: len(prompt)] != prompt:
            at = next((i for i, pair in enumerate(zip(prompt, whole, strict=False)) if pair[0] != pair[1]), len(whole))
            raise ValueError(
                f"The chat template renders the prompt differently once the answer follows (from token {at}, "
                f"{self.decode(prompt[at : at + 8], keep_special=True)!r}); use a template that only appends."
            )
        completion = whole[len(prompt) :]
        stops = [i for i, token in enumerate(completion) if token in self.stop_ids]
        if len(stops) == len(completion):
            raise ValueError(
                "The chat template writes nothing of the assistant's answer, so there is no token to learn from; use"
                " a template that does."
            )
        return prompt, completion[: stops[-1] + 1] if stops else [*completion, self.eos_id]

    def save(self, folder: str | Path) -> None:
        """Write the tokenizer's files, which `load` and transformers read."""
        self.pretrained.save_pretrained(folder)
        ids = [self.eos_id, *(i for i in self.stop_ids if i != self.eos_id)]
        generation = {"bos_token_id": self.pretrained.bos_token_id, "eos_token_id": ids, "pad_token_id": self.pad_id}
        (Path(folder) / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")

    def _one_bos(self, ids: list[int]) -> list[int]:
        """Exactly one BOS in front where the model uses one; elsewhere nothing changes."""
        if self.bos_id is None:
            return ids
        start = next((i for i, token in enumerate(ids) if token != self.bos_id), len(ids))
        return [self.bos_id, *ids[start:]]


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer of a Hugging Face folder.

    Raises:
        FileNotFoundError: there is no `tokenizer.json`.
        ValueError: one of its files is broken; or see `wrap`.
    """
    folder = Path(folder)
    if not (folder / "tokenizer.json").exists():
        raise FileNotFoundError(f"{folder} holds no tokenizer.json; save its tokenizer there with transformers first.")
    path = folder / "generation_config.json"
    stops = settings_file.read(path).get("eos_token_id") if path.exists() else None
    stops = stops if isinstance(stops, list) else [] if stops is None else [stops]
    if not all(type(stop) is int for stop in stops):
        raise ValueError(f"{path} says eos_token_id = {stops}, which are no ids: write the ids of its stop tokens.")
    try:
        pretrained = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    except Exception as error:  # transformers and tokenizers fail over broken files in every way
        raise ValueError(
            f"the tokenizer of {folder} cannot be read ({type(error).__name__}: {error}): save or fetch tokenizer.json"
            " and tokenizer_config.json again."
        ) from error
    return wrap(pretrained, stop_ids=stops)


def wrap(pretrained: transformers.PreTrainedTokenizerFast, *, stop_ids: Sequence[int] = ()) -> Tokenizer:
    """A transformers tokenizer as ours; `stop_ids` are stop tokens beyond EOS and the chat template's end of turn.

    Raises:
        ValueError: no EOS is known, so that nothing sampled would ever stop.
    """
    ids: Any = pretrained  # which declares wider types of them than it returns
    eos, pad, bos = ids.eos_token_id, ids.pad_token_id, ids.bos_token_id
    if eos is None and not stop_ids:
        raise ValueError("The tokenizer has no EOS token; set eos_token in its tokenizer_config.json.")
    eos = stop_ids[0] if eos is None else eos
    stops = dict.fromkeys([eos, *stop_ids, *_end_of_turn(pretrained)])
    begins = bos is not None and pretrained.encode("")[:1] == [bos]
    return Tokenizer(
        pretrained=pretrained,
        bos_id=bos if begins else None,
        eos_id=eos,
        stop_ids=tuple(stops),
        pad_id=eos if pad is None else pad,
    )


def _render(
    pretrained: transformers.PreTrainedTokenizerFast, messages: Sequence[Message], add_generation_prompt: bool
) -> str:
    turns = [dict(message) for message in messages]
    return str(pretrained.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt))


def _end_of_turn(pretrained: transformers.PreTrainedTokenizerFast) -> list[int]:
    """The special token that the chat template writes right behind an answer, if it does."""
    if pretrained.chat_template is None:
        return []
    answer = "8c1f5e"  # any text that no template contains
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}]
    try:
        text = _render(pretrained, turns, add_generation_prompt=False)
    except jinja2.TemplateError:  # dialogues of this shape are refused
        return []
    behind = pretrained.encode(text.rpartition(answer)[2], add_special_tokens=False)[:1]
    return [token for token in behind if pretrained.added_tokens_decoder.get(token, _PLAIN).special]


_PLAIN = tokenizers.AddedToken("", special=False)
