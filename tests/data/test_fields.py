import pathlib

import pytest

from posttrain_jax.data import fields, source

HH = pathlib.Path(__file__).parents[2].parent / "shared/data/hh_harmless/test.jsonl.gz"
USER = {"role": "user", "content": "hi"}
YES = {"role": "assistant", "content": "yes"}
NO = {"role": "assistant", "content": "no"}


def test_default_names():
    row = {"prompt": "p", "completion": "c", "chosen": "a", "rejected": "b"}
    assert fields.PromptFields()(row) == "p"
    assert fields.DemonstrationFields()(row) == fields.Demonstration("p", "c")
    assert fields.PreferenceFields()(row) == fields.Preference("p", "a", "b")


def test_gsm8k_names_and_template():
    prompt = fields.PromptFields("question", template="Q: {prompt}\nA:")
    row = {"question": "1+{prompt}?", "answer": "2"}
    assert fields.DemonstrationFields(prompt, "answer")(row) == fields.Demonstration("Q: 1+{prompt}?\nA:", "2")


def test_a_template_without_a_place_for_the_prompt_is_refused():
    with pytest.raises(ValueError, match=r"template 'Q: \{question\}' does not say where \{prompt\} stands"):
        fields.PromptFields("question", template="Q: {question}")


def test_chat():
    assert fields.PromptFields(chat=True)({"prompt": "hi"}) == [USER]
    assert fields.PromptFields(template="never {prompt}", chat=True)({"prompt": [USER]}) == [USER]
    assert fields.ConversationFields()({"messages": [USER, NO, USER, YES]}) == fields.Demonstration(
        [USER, NO, USER], "yes"
    )
    pair = {"chosen": [USER, YES], "rejected": [USER, NO]}
    assert fields.ConversationPreferenceFields()(pair) == fields.Preference([USER], "yes", "no")


def test_dialogues_split_at_the_last_turn():
    start = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"
    row = {"chosen": start + " yes", "rejected": start + " no"}
    assert fields.DialoguePreferenceFields()(row) == fields.Preference(start, " yes", " no")


@pytest.mark.parametrize(
    ("read", "row", "told"),
    [
        (
            fields.DemonstrationFields(),
            {"prompt": "p", "answer": "c"},
            "no field 'completion'; the row has 'prompt', 'ans",
        ),
        (fields.DemonstrationFields(), {"prompt": "p", "completion": 4}, "'completion' holds int 4, not text"),
        (
            fields.RankingFields(scores="s"),
            {"prompt": "p", "completions": ["a", "b"], "s": 3},
            "3, not a list of numbers",
        ),
        (
            fields.PreferenceFields(scores=("s", "s")),
            {"prompt": "p", "chosen": "a", "rejected": "b", "s": 10**400},
            "'s' holds int 1000.*, not a finite number",
        ),
        (
            fields.PreferenceFields(win_rates=("s", "t")),
            {"prompt": "p", "chosen": "a", "rejected": "b", "s": 0.5, "t": 2},
            r"\('s', 't'\) hold \[0.5, 2.0\]: a win rate is from 0 to 1",
        ),
        (fields.PromptFields(), {"prompt": 4}, "neither text nor messages"),
        (fields.PromptFields(), {"prompt": []}, "neither text nor messages"),
        (fields.ConversationFields(), {"messages": [USER]}, "must end with an assistant's"),
        (fields.ConversationFields(), {"messages": [YES]}, "after a user's"),
        (fields.ConversationFields(), {"messages": [USER, {"role": "assistant", "content": None}]}, "of text"),
        (fields.DialoguePreferenceFields(), {"chosen": "a", "rejected": "a"}, "no turn '\\\\n\\\\nAssistant:'"),
        (
            fields.DialoguePreferenceFields(),
            {"chosen": "a\n\nAssistant: c", "rejected": "b\n\nAssistant: c"},
            "'chosen' and 'rejected' differ before their last turn",
        ),
        (
            fields.ConversationPreferenceFields(),
            {"chosen": [USER, YES], "rejected": [NO, USER, YES]},
            "differ before their last turn",
        ),
    ],
)
def test_rows_that_do_not_fit(read, row, told):
    with pytest.raises(ValueError, match=told):
        read(row)


def test_real_dialogues():
    if not HH.exists():
        pytest.skip("shared/data/hh_harmless is not beside the repository")
    rows = source.read(str(HH))
    read = fields.DialoguePreferenceFields()
    bad = 0
    for index in range(len(rows)):
        try:
            pair = read(rows[index])
        except ValueError:
            bad += 1
            continue
        assert pair.prompt + pair.chosen == rows[index]["chosen"]
        assert pair.prompt.endswith("\n\nAssistant:")
        assert "\n\nAssistant:" not in pair.chosen + pair.rejected
    assert bad == 5  # in five rows of the published file the dialogues differ before the last turn
