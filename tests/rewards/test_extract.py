import pytest

from posttrain_jax.rewards import extract


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("a <answer> 4 </answer>", "4"),
        ("<answer>3</answer> no <answer>4</answer> yes", "4"),
        ("<answer>3</answer> no <answer>4", "3"),
        ("<answer></answer>", ""),
        ("</answer> 4 <answer>", None),
        ("4", None),
    ],
)
def test_last_tag(text, answer):
    assert extract.LastTag()(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{1} then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{1} then \boxed{\frac{1}{2}", "1"),
        (r"\boxed{}", ""),
        ("none", None),
    ],
)
def test_last_boxed(text, answer):
    assert extract.last_boxed(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("#### 72", "72"),
        ("#### 1,234,567.5", "1234567.5"),
        ("#### -3.", "-3"),
        ("#### $18", "18"),
        ("#### 1\n#### 2", "2"),
        ("####", None),
        ("72", None),
    ],
)
def test_after_hashes(text, answer):
    assert extract.after_hashes(text) == answer


def test_after_think_hands_on():
    assert extract.AfterThink(extract.last_boxed)(r"<think>\boxed{1}</think>\boxed{2}") == "2"
    assert extract.AfterThink()("<think>a</think>b</think>c") == "c"
    assert extract.AfterThink()("<think>a") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so\n```json\n{}\n```\nthat is it", "{}"),
        ("```json\n1\n```\n```json\n2\n```", "2"),
        ("```JSON \n1\n2\n```  ", "1\n2"),
        ("```json\n1\n```\n```python\n2\n```", "1"),
        ("```json\n1\n```\n```json\n2", "1"),
        ("```json\n```python\n```", "```python"),
        ("```json\n```", ""),
        ("```\n1\n```", None),
        ("```json 1 ```", None),
        ("{}", None),
        ("", None),
    ],
)
def test_last_fence(text, answer):
    assert extract.LastFence("json")(text) == answer


def test_a_fence_without_a_name():
    assert extract.LastFence("")("```json\n1\n```\n```\n2\n```") == "2"
