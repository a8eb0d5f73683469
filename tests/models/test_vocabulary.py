import pytest

from posttrain_jax.models import tokenizer, vocabulary

TEXT = "Natália sold 48/2 = 24 clips in May.\n#### 24"


def test_byte_pairs_round_trip_any_text():
    words = vocabulary.byte_pairs([TEXT], 300)
    for text in (TEXT, "日本 ~ \t", "", "<eos> in the data"):
        assert words.decode(words.encode(text)) == text
    assert len(words.encode(TEXT)) < len(TEXT.encode())
    assert words.eos_id not in words.encode("<eos>")
    assert words.render_prompt("x")[0] == words.bos_id == 1
    assert words.render_completion("x")[-1] == words.eos_id == 2


def test_byte_pairs_come_back_from_a_folder(tmp_path):
    words = vocabulary.byte_pairs([TEXT], 300)
    words.save(tmp_path)
    again = tokenizer.load(tmp_path)
    assert again.encode(TEXT) == words.encode(TEXT)
    assert (again.eos_id, again.stop_ids, again.bos_id, again.pad_id) == (2, (2,), 1, 0)


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocab_size=100 has no room for all bytes; give at least 259"):
        vocabulary.byte_pairs([TEXT], 100)
