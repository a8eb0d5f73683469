import making
import pytest

from posttrain_jax.rewards import retrieval


def embed(text):
    return [float(text.count("a")), float(text.count("b"))]


REWARD = retrieval.SubQuestion(embed, sources=("text", "image"))


@pytest.mark.parametrize(
    ("question", "source", "score"),
    [
        ("aa", "text", 1.0),
        ("b", "text", 0.5),
        ("ab", "image", 0.5 * 0.5**0.5),
        ("a", "text, image", 0.5),
        ("a", "web", 0.0),
        ("a", "text,none", 0.0),
        ("a", "none", 0.5),
        ("", "text", 0.5),
    ],
)
def test_half_for_the_question_and_half_for_the_source(question, source, score):
    text = f"<think>x</think><sub-question>{question}</sub-question><ret>{source}</ret>"
    assert REWARD(making.make(text, query="a", retriever="text")) == pytest.approx(score)


def test_what_cannot_be_read_earns_nothing():
    assert REWARD(making.make("<ret>text</ret>", query="a", retriever="text")) == 0
    assert REWARD(making.make("<sub-question>a</sub-question>", query="a", retriever="text")) == 0
