import fake_tokenizer as fake
import pytest

from posttrain_jax.data import column, document, encode, preferences

TEXT = "one two three\n\nfour five\n\nsix\n\nseven eight nine ten eleven"


def test_parts_end_where_paragraphs_do():
    assert document.parts(TEXT, words=5) == ["one two three\n\nfour five", "six", "seven eight nine ten eleven"]
    assert document.parts(TEXT, words=100) == [TEXT]


@pytest.mark.parametrize("words", [1, 2, 3, 7])
def test_every_word_stands_in_one_part(words):
    found = document.parts(TEXT, words=words)
    assert " ".join(found).split() == TEXT.split()
    assert max(len(part.split()) for part in found) <= words


def test_rows_read_the_whole_document_and_hold_the_part():
    words = fake.Characters()
    pairs = [document.preference(TEXT, "Count.", chosen="good", rejected=answer) for answer in ("bad", "worse")]
    sources = [{"index": 0}, {"index": 1}]
    rows, _ = preferences.encode(sources, lambda row: pairs[row["index"]], words, encode.Limits(200, 20))
    got = document.with_short_prompts(rows, [("six", "Count."), ("four five", "Count.")], words, width=40)
    assert words.decode(got[0].prompt.tolist()) == document.PROMPT.format(document=TEXT, instruction="Count.")
    assert words.decode(column.ids(got[1].columns["short_prompt"]).tolist()) == "four five\n\nCount.\n"


def test_parts_without_words_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        document.parts(TEXT, words=0)
