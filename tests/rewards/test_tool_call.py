import json

import making
import pytest

from posttrain_jax.rewards import tool_call

Call = tool_call.Call


def written(*calls):
    return "".join(f"<tool_call>\n{json.dumps({'name': n, 'arguments': a})}\n</tool_call>\n" for n, a in calls)


def golds(*calls):
    return [{"name": name, "arguments": arguments} for name, arguments in calls]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("no calls", []),
        ('so <tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call> then', [Call("f", {"a": 1})]),
        ('<tool_call>\n{"name": "f"}\n{"name": "g"}\n</tool_call>', [Call("f", {}), Call("g", {})]),
        ('<tool_call>[{"name": "f"}, {"name": "g"}]</tool_call>', [Call("f", {}), Call("g", {})]),
        (
            '<tool_call>{"name": "f"}</tool_call><tool_call>{"name": "f"}</tool_call>',
            [Call("f", {}), Call("f", {})],
        ),
        ('<tool_call>{"name": "f"}', None),
        ('{"name": "f"}</tool_call>', None),
        ('</tool_call><tool_call>{"name": "f"}', None),
        ('<tool_call><tool_call>{"name": "f"}</tool_call></tool_call>', None),
        ("<tool_call></tool_call>", None),
        ("<tool_call>[]</tool_call>", None),
        ("<tool_call>f(1)</tool_call>", None),
        ('<tool_call>{"name": "f"} please</tool_call>', None),
        ('<tool_call>{"arguments": {}}</tool_call>', None),
        ('<tool_call>{"name": 3}</tool_call>', None),
        ('<tool_call>{"name": "f", "arguments": "a"}</tool_call>', None),
        ('<tool_call>{"name": "f"}</tool_call><tool_call>null</tool_call>', None),
        ("<tool_call>" + "[" * 100_000 + "</tool_call>", None),
    ],
)
def test_tagged_calls(text, calls):
    assert tool_call.TaggedCalls()(text) == calls


def test_the_key_of_the_arguments():
    text = '<tool_call>{"name": "f", "parameters": {"a": 1}}</tool_call>'
    assert tool_call.TaggedCalls("parameters")(text) == [Call("f", {"a": 1})]


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [([], [], 1), ([], ["a"], 0), (["a"], ["a", "b"], 0.5), (["a", "a"], ["a"], 0.5), (["a", "b"], ["b", "a"], 1)],
)
def test_overlap(first, second, share):
    assert tool_call.overlap(first, second) == share


F = ("f", {"a": 1, "b": 2})


@pytest.mark.parametrize(
    ("given", "score"),
    [
        ([F], 1),
        ([("f", {"b": 2.0, "a": 1})], 1),
        ([("f", {"a": 1, "b": 3})], 3 / 4),  # names 1, arguments' names 1, one value of two: 3 of 4
        ([("f", {"a": 1})], 2.5 / 4),
        ([("f", {})], 1 / 4),
        ([("f", {"a": True, "b": "2"})], 2 / 4),
        ([("f", {"a": 1, "b": 2, "c": 3, "d": 4})], 3.5 / 4),
        ([("g", {"a": 1, "b": 2})], 0),
        ([F, ("g", {})], 3.5 / 4),  # half of the names are right
        ([F, F], 3.5 / 4),
        ([], 0),
    ],
)
def test_one_gold_call(given, score):
    assert tool_call.ToolCalls()(making.make(written(*given), calls=golds(F))) == pytest.approx(score)


def test_the_numbers_of_the_paper_s_scale():
    scores = [
        6 * tool_call.ToolCalls()(making.make(written(given), calls=golds(F))) - 3
        for given in (F, ("f", {"a": 1, "b": 3}), ("g", {}))
    ]
    assert scores == [3, 1.5, -3]


def test_several_gold_calls_in_any_order_and_each_taken_once():
    two = [("f", {"a": 1}), ("f", {"a": 2})]
    reward = tool_call.ToolCalls()
    assert reward(making.make(written(*two[::-1]), calls=golds(*two))) == 1
    # one of two names, one call found: 0.5 + (1 + 1), of 1 + 2 + 2
    assert reward(making.make(written(two[0]), calls=golds(*two))) == pytest.approx(2.5 / 5)
    # both names, 1 + 1 of the first, and the second finds only the same call again: 1 + 2 + 1
    assert reward(making.make(written(two[0], two[0]), calls=golds(*two))) == pytest.approx(4 / 5)


def test_no_gold_calls():
    reward = tool_call.ToolCalls()
    assert reward(making.make("it is 4", calls=[])) == 1
    assert reward(making.make(written(F), calls=[])) == 0
    assert reward(making.make("<tool_call>", calls=[])) == 0


def test_malformed_calls_score_nothing():
    assert tool_call.ToolCalls()(making.make(written(F) + "<tool_call>", calls=golds(F))) == 0


def test_gold_may_be_text_and_must_be_calls():
    reward = tool_call.ToolCalls()
    assert reward(making.make(written(F), calls=json.dumps(golds(F)))) == 1
    for gold in ("no", "{}", [{"arguments": {}}], {"name": "f"}, None):
        with pytest.raises(ValueError, match="no list of calls"):
            reward(making.make("", calls=gold))
    with pytest.raises(ValueError, match="no field 'calls'"):
        reward(making.make(""))
