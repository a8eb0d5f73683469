import pytest

from posttrain_jax.models import settings_file


def test_an_object_is_read(tmp_path):
    (tmp_path / "config.json").write_text('{"a": "\u00e4", "b": null}', encoding="utf-8")
    assert settings_file.read(tmp_path / "config.json") == {"a": "\u00e4", "b": None}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"config\.json is not whole JSON \(Expecting value.*\); fetch or write it again"),
        (b'{"a": 1', r"config\.json is not whole JSON"),
        (b"\xff{}", r"config\.json is not whole JSON \('utf-8' codec"),
        (b"[1]", r"config\.json must hold one JSON object, not a list"),
    ],
)
def test_a_broken_file_is_named(tmp_path, content, sentence):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=sentence):
        settings_file.read(tmp_path / "config.json")


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "config.json", tmp_path / "file" / "config.json"):
        with pytest.raises(FileNotFoundError, match=r"config\.json does not exist; give the folder of a Hugging Face"):
            settings_file.read(path)


def test_types():
    types = {"integer": ((int,), ("a", "b")), "boolean": ((bool,), ("c",))}
    settings_file.check("it", {"a": 1, "b": None, "c": True, "d": "anything"}, types)
    for entries, sentence in (
        ({"a": True}, "it says a = True, which is no integer: write it as one"),  # bool is an int to isinstance
        ({"b": 2.0}, "b = 2.0, which is no integer"),
        ({"c": "false"}, "c = 'false', which is no boolean"),
    ):
        with pytest.raises(ValueError, match=sentence):
            settings_file.check("it", entries, types)
