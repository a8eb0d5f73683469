import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import advantage, visits

NAN = jnp.nan
ONE = jnp.array([2])


def visit(*rewards, ids=ONE, prompts=4):
    """Advantages of the last of several visits, and what is then remembered."""
    seen = visits.none(prompts)
    for each in rewards:
        scores, seen = visits.smooth(jnp.array([each], jnp.float32), ids, seen)
    return scores[0], seen


FIRST, SECOND, THIRD = [1.0, 0, 0, 0], [1.0, 1, 0, 0], [0.0, 0, 0, 0]


def test_worked_visits():
    scores, _ = visit(FIRST)
    np.testing.assert_allclose(scores, [1.5, -0.5, -0.5, -0.5], atol=1e-6)
    scores, seen = visit(FIRST, SECOND)
    np.testing.assert_allclose(scores, [0.996747, 0.996747, -0.771253, -0.771253], atol=2e-6)
    np.testing.assert_allclose([seen.count[2], seen.mean[2], seen.std[2]], [2, 0.375, 0.554339], atol=2e-6)
    scores, seen = visit(FIRST, SECOND, THIRD)
    np.testing.assert_allclose(scores, -0.171499, atol=2e-6)
    np.testing.assert_allclose([seen.count[2], seen.mean[2], seen.std[2]], [3, 0.25, 0.485913], atol=2e-6)
    for table in (seen.count, seen.mean, seen.std):
        np.testing.assert_array_equal(table[jnp.array([0, 1, 3])], 0)


def test_the_first_visit_is_grpo():
    rewards = [0.3, -1.2, NAN, 2.0]
    expected = advantage.group_zscore(jnp.array([rewards]), ONE, eps=0.0)[0]
    np.testing.assert_allclose(visit(rewards)[0], expected, atol=1e-6)


def test_equal_rewards_teach_by_the_visits_before():
    """The mixture that is smaller is 1 / i of the comparison with all visits."""
    scores, seen = visit(SECOND, [1.0, 1, 1, 1])
    np.testing.assert_allclose(scores, (1 - seen.mean[2]) / seen.std[2] / 2, rtol=1e-5)


@pytest.mark.parametrize("value", [0.1, 1e3, -7.7])
def test_rewards_that_never_differ_teach_nothing(value):
    np.testing.assert_array_equal(visit([value] * 3, [value] * 3, [value] * 3)[0], 0)


def test_visits_without_a_reward_are_not_remembered():
    scores, seen = visit(FIRST, [NAN] * 4)
    np.testing.assert_array_equal(scores, 0)
    assert seen.count[2] == 1


def test_a_group_may_span_rows_and_ids_outside_have_no_memory():
    rewards = jnp.array([[1.0, 0], [5.0, 7.0], [0, 0], [2.0, 1.0]])
    scores, seen = visits.smooth(rewards, jnp.array([2, -1, 2, 9]), visits.none(4))
    np.testing.assert_allclose(scores[jnp.array([0, 2])].reshape(-1), visit(FIRST)[0], atol=1e-6)
    np.testing.assert_allclose(scores[jnp.array([1, 3])], [[-0.707107, 0.707107], [0.707107, -0.707107]], atol=1e-6)
    np.testing.assert_array_equal(seen.count, [0, 0, 1, 0])


def test_no_gradient():
    got = jax.grad(lambda r: visits.smooth(r, ONE, visits.none(3))[0].sum())(jnp.array([FIRST]))
    np.testing.assert_array_equal(got, 0)
