"""From files to padded batches with the project's own tokenizer."""

import pathlib

import numpy as np
import pytest

from posttrain_jax.data import batch, demonstrations, encode, fields, iterate, preferences, source
from posttrain_jax.models import tokenizer, vocabulary

SHARED = pathlib.Path(__file__).parents[2].parent / "shared/data"
LIMITS = encode.Limits(prompt=64, completion=48)


def characters_of(rows):
    return vocabulary.characters("".join(sorted(set("\n".join("".join(row.values()) for row in rows) + "\n"))))


def test_gsm8k():
    if not SHARED.exists():
        pytest.skip("shared/data is not beside the repository")
    data = source.read(str(SHARED / "gsm8k"), split="test")
    rows = [data[index] for index in range(40)]
    characters = characters_of(rows)
    assert isinstance(characters, encode.Tokenizer)
    read = fields.DemonstrationFields(fields.PromptFields("question", template="{prompt}\n"), "answer")
    encoded, report = demonstrations.encode(rows, read, characters, LIMITS)
    assert report.cut_prompts > 30
    pad = batch.Pad([batch.Bucket(64, 48)], characters.pad_id, group_size=1)
    groups = next(iter(iterate.Batches(encoded, pad, batch_size=8, seed=0)))
    assert groups.prompts.shape == (8, 64)
    for prompt, length, index in zip(groups.prompts, groups.prompt_lengths, groups.group_ids, strict=True):
        assert prompt[0] == characters.bos_id
        assert np.sum(prompt == characters.bos_id) == 1
        assert (rows[index]["question"] + "\n").endswith(characters.decode(prompt[1:length].tolist()))
    for completion, mask, index in zip(groups.completions, groups.completion_mask, groups.group_ids, strict=True):
        assert rows[index]["answer"].startswith(characters.decode(completion[mask].tolist()))


def test_hh():
    if not SHARED.exists():
        pytest.skip("shared/data is not beside the repository")
    data = source.read(str(SHARED / "hh_harmless"))
    rows = [data[index] for index in range(1240, 1280)]
    characters = characters_of(rows)
    encoded, report = preferences.encode(
        rows, fields.DialoguePreferenceFields(), characters, encode.Limits(64, 400), max_bad_fraction=0.2
    )
    assert report.bad >= 1
    for row in encoded:
        assert row.index != 14  # its two dialogues differ before the last turn
        for name, ids in zip(("chosen", "rejected"), row.completions, strict=True):
            if ids[-1] == characters.eos_id:
                assert rows[row.index][name].endswith(characters.decode(ids.tolist()))
                assert np.sum(ids == characters.eos_id) == 1


TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message.role }}: {{ message.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_conversations():
    pretrained = vocabulary.characters().pretrained
    pretrained.chat_template = TEMPLATE
    chat = tokenizer.wrap(pretrained)
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    encoded, _ = demonstrations.encode(
        [{"messages": messages}], fields.ConversationFields(), chat, encode.Limits(64, 16)
    )
    prompt, (completion,) = encoded[0].prompt.tolist(), encoded[0].completions
    assert (prompt[0], prompt.count(chat.bos_id)) == (chat.bos_id, 1)
    assert chat.decode(prompt) == "user: hi\nassistant: "
    assert (completion[-1], np.sum(completion == chat.eos_id)) == (chat.eos_id, 1)
    assert chat.decode(completion.tolist()) == "yes"
