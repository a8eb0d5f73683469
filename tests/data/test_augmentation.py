import pytest

from posttrain_jax.data import augmentation


def test_difficulty_is_relative_to_the_last_steps():
    recent = augmentation.Recent(2)
    assert recent.difficulty(0.3) == 0
    for reward in (0.0, 0.4, 0.8):
        recent.add(reward)
    assert recent.values == [0.4, 0.8]
    assert recent.difficulty(0.1) == pytest.approx(0.5)
    assert augmentation.Recent(2, recent.values).difficulty(0.9) == pytest.approx(-0.3)


def test_hard_prompts_get_a_hint_and_easy_ones_are_perturbed():
    adapt = augmentation.Adapt(lambda prompt, level: f"{prompt}~{level:g}", most_noise=0.8)
    solution = "a b c d e f g h"
    assert adapt("q", solution, 0.5) == "q\n\nHint: a b"
    assert adapt("q", solution, 7.0) == "q\n\nHint: a b c d"
    assert adapt("q", solution, 0.0) == "q"
    assert adapt("q", solution, -0.5) == "q~0.4"
    assert adapt("q", solution, -3.0) == "q~0.8"
