import math

import making
import pytest

from posttrain_jax.rewards import extract, json_value

PERSON = {
    "type": "object",
    "title": "a person",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", 1, None]}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"a": [1, 2.5e3, null, true, "b"]}', 1),
        (" 4\n", 1),
        ("null", 1),
        ('""', 1),
        ("", 0),
        ("{'a': 1}", 0),
        ('{"a": 1,}', 0),
        ('{"a": 1} that is it', 0),
        ("{} {}", 0),
        ("NaN", 0),
        ("[-Infinity]", 0),
        ('"\x00"', 0),
        ("[" * 100_000, 0),
        ("[" * 101 + "]" * 101, 1),
        ("[" * 102 + "]" * 102, 0),
        ("1" * 5000, 0),
    ],
)
def test_parses(text, score):
    assert json_value.Parses()(making.make(text)) == score


def test_a_fenced_block_is_read_where_it_is_asked_for():
    text = "Here:\n```json\n[1]\n```\n"
    assert json_value.Parses()(making.make(text)) == 0
    assert json_value.Parses(extract.LastFence("json"))(making.make(text)) == 1
    assert json_value.Parses(extract.LastFence("json"))(making.make("[1]")) == 0


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"name": "A"}', 1),
        ('{"name": "A", "age": 3, "tags": ["a", 1.0, null]}', 1),
        ('{"name": "A", "age": 3.0}', 1),
        ('{"name": "A", "age": 3.5}', 0),
        ('{"name": "A", "age": true}', 0),
        ('{"name": "A", "tags": ["b"]}', 0),
        ('{"name": "A", "tags": [true]}', 0),
        ('{"name": "A", "tags": "a"}', 0),
        ('{"name": null}', 0),
        ('{"age": 3}', 0),
        ('{"name": "A", "hobby": 1}', 0),
        ("[]", 0),
        ("no", 0),
    ],
)
def test_valid(text, score):
    assert json_value.Valid(PERSON)(making.make(text)) == score


@pytest.mark.parametrize(
    ("schema", "text", "score"),
    [
        ({}, "[1]", 1),
        ({}, "[1", 0),
        ({"type": ["integer", "null"]}, "null", 1),
        ({"type": ["integer", "null"]}, '"1"', 0),
        ({"type": "number"}, "1", 1),
        ({"required": ["a"]}, "[1]", 1),  # says nothing of arrays
        ({"items": {"type": "integer"}}, '{"a": "b"}', 1),
        ({"additionalProperties": {"type": "integer"}}, '{"a": 1, "b": 2}', 1),
        ({"additionalProperties": {"type": "integer"}}, '{"a": 1, "b": "2"}', 0),
        ({"properties": {"a": {"properties": {"b": {"type": "null"}}}}}, '{"a": {"b": 1}}', 0),
    ],
)
def test_keywords(schema, text, score):
    assert json_value.Valid(schema)(making.make(text)) == score


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"minimum": 1}, "minimum is not checked here"),
        ({"properties": {"a": {"items": {"pattern": "x"}}}}, "pattern is not checked here"),
        ({"additionalProperties": {"format": "date"}}, "format is not checked here"),
        ({"type": "float"}, "type float is none of object"),
        ({"items": [{}]}, "a schema is a mapping"),
    ],
)
def test_schemas_that_say_more_are_refused(schema, told):
    with pytest.raises(ValueError, match=told):
        json_value.Valid(schema)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"a": 1, "b": {"c": [1, 2], "d": null}}', 1),
        ('{"b": {"d": null, "c": [1.0, 2]}, "a": 1.0}', 1),
        ('{"a": 1}', 0.5),
        ('{"a": 1, "b": 2}', 0.5),
        ('{"a": 1, "b": 2, "x": 3, "y": 4}', 0.25),
        ('{"a": true}', 0),
        ('{"a": "1"}', 0),
        ('{"b": {"c": [2, 1], "d": null}}', 0),
        ("{}", 0),
        ("[1]", 0),
        ("no", 0),
    ],
)
def test_entries(text, score):
    gold = {"a": 1, "b": {"c": [1, 2], "d": None}}
    assert json_value.Entries()(making.make(text, answer=gold)) == score


def test_gold_may_be_text_or_empty_and_must_be_an_object():
    assert json_value.Entries()(making.make('{"a": 1}', answer='{"a": 1}')) == 1
    assert math.isnan(json_value.Entries()(making.make("{}", answer={})))
    for gold in ("[1]", "no", [1]):
        with pytest.raises(ValueError, match="no JSON object"):
            json_value.Entries()(making.make("{}", answer=gold))
