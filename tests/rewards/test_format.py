import making
import pytest

from posttrain_jax.rewards import format


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<think>a</think>b", 1),
        ("x<think>a</think>", 0),
        ("<think>a<think>b</think>", 0),
        ("a</think>", 0),
        ("<think></think>b", 1),
        ("<think>a</think>b</think>c", 1),
        ("<think>a\nb</think>\nc\nd", 1),
        ("<think>a</think>b<think>c", 0),
        ("", 0),
    ],
)
def test_think(text, score):
    assert format.Think()(making.make(text)) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<think>a</think><answer>b</answer>", 1),
        ("<think>a</think>\n\n<answer>b</answer>\n", 1),
        ("<think>\n\n</think><answer></answer>", 1),
        ("<think>a</think><answer>b</answer><answer>c</answer>", 0),
        ("<think>a</think><answer>b</answer> so", 0),
        ("<think>a</think>so<answer>b</answer>", 0),
        ("<answer>b</answer><think>a</think>", 0),
    ],
)
def test_think_answer(text, score):
    assert format.ThinkAnswer()(making.make(text)) == score


def test_prefix_is_read_as_the_beginning():
    assert format.Think("<think>\n")(making.make("a</think>b")) == 1
    assert format.Think("<think>\n")(making.make("<think>a</think>b")) == 0
    assert format.ThinkAnswer("<think>\n")(making.make("a</think><answer>b</answer>")) == 1
    assert format.TagCount("<think>\n")(making.make("a</think>")) == 0.5


@pytest.mark.parametrize(
    ("text", "score"), [("", 0), ("<think></think>", 0.5), ("<think><think></think><answer></answer>", 0.75)]
)
def test_tag_count(text, score):
    assert format.TagCount()(making.make(text)) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [("so\n#### 42", 1), ("#### -1,000.5\n", 1), ("#### 42 apples", 0), ("42", 0), ("", 0), ("#### 4\nno: 5", 0)],
)
def test_ending(text, score):
    assert format.Ending(r"#### -?[\d,.]+")(making.make(text)) == score


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("<step>x</step> <answer>y</answer>", 1),
        ("<answer>y</answer><step>x</step>", 5 / 6),
        ("<step>x</step><answer>y", 3 / 6),
        ("<step>x</step><answer>y</answer><answer>z</answer>", 5 / 6),
        ("</step><step> <answer>y</answer>", 5 / 6),
        ("", 0),
    ],
)
def test_tags_in_their_order(text, score):
    assert format.Tags(("step", "answer"))(making.make(text)) == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "score"),
    [("<think>\n\n</think><answer>x</answer>", 1), ("<think>hm</think>", 0), ("<answer>x</answer>", 0)],
)
def test_thoughts_that_were_skipped(text, score):
    assert format.Skipped()(making.make(text)) == score
    assert format.ThinkAnswer()(making.make("<think>\n\n</think><answer>x</answer>")) == 1
