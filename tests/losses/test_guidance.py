import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import guidance

REWARDS = jnp.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
IDS = jnp.array([4, 7])


def test_the_worked_schedule():
    schedule = guidance.Falling(start=5e-3, slope=5e-5, floor=1e-3)
    got = [schedule(jnp.int32(step)) for step in (0, 40, 80, 1000)]
    np.testing.assert_allclose(got, [0.005, 0.003, 0.001, 0.001], rtol=1e-5)
    with pytest.raises(ValueError, match="does not fall"):
        guidance.Falling(start=1e-3, slope=1e-5, floor=1e-2)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (guidance.everything, [[1, 1, 1], [1, 1, 1]]),
        (guidance.failures, [[0, 1, 1], [1, 1, 1]]),
        (guidance.failed_groups, [[0, 0, 0], [1, 1, 1]]),
    ],
)
def test_the_worked_choices(choice, expected):
    np.testing.assert_array_equal(choice(REWARDS, IDS), expected)


def test_a_group_may_span_rows_and_lack_scores():
    one = jnp.zeros(2, int)
    assert not guidance.failed_groups(REWARDS, one).any()
    assert guidance.failed_groups(jnp.array([[0.0, jnp.nan]]), jnp.zeros(1, int)).all()
