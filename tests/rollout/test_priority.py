import numpy as np
import pytest

from posttrain_jax.rollout import priority


def test_worked_scores():
    rates = np.array([0.5, 0.125, 0.0])
    np.testing.assert_allclose(priority.variance(rates), [0.25, 0.109375, 0])
    np.testing.assert_allclose(priority.normalized(priority.variance(rates)), [1, 0.4375, 0], atol=1e-6)
    np.testing.assert_allclose(priority.score(rates, np.array([1.0, 0.5, 0])), [0.4, 0.1875, 0])
    alone = priority.score(rates, np.ones(3), alpha=1.0, beta=0.0)
    np.testing.assert_array_equal(alone, priority.variance(rates))


def test_diversity_counts_distinct_pieces():
    assert priority.diversity([[1, 2, 3, 4], [1, 2, 3, 5]]) == 0.75
    assert priority.diversity([[5, 5, 5, 5, 5]], n=2) == 0.25
    assert priority.diversity([[1, 2], []]) == 0


def test_scores_follow():
    old, new = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    np.testing.assert_array_equal(priority.follow(old, new), new)
    np.testing.assert_allclose(priority.follow(old, new, momentum=0.9), [0.9, 0.1])


def test_prompts_are_drawn_by_score():
    many = priority.draw(np.array([0.0, 1.0, 3.0, 0.0]), 8000, np.random.default_rng(1))
    np.testing.assert_allclose(np.bincount(many, minlength=4) / 8000, [0, 0.25, 0.75, 0], atol=0.02)


def test_no_score_is_uniform():
    flat = priority.draw(np.zeros(4), 4000, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(flat, minlength=4) / 4000, 0.25, atol=0.03)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="share="):
        priority.VarianceAware(share=1.5)
    with pytest.raises(ValueError, match="negative"):
        priority.draw(np.array([-0.1, 1.0]), 2, np.random.default_rng(0))
