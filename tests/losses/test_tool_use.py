import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import tool_use

M = jnp.arange(6.0)


@pytest.mark.parametrize(
    ("fewest", "expected"),
    [
        (0.0, [1, 0.866025, 0.707107, 0.587785, 0.5, 0.433884]),
        (1.0, [0, 1, 0.866025, 0.707107, 0.587785, 0.5]),
        (2.0, [0, 0.866025, 1, 0.951057, 0.866025, 0.781831]),
        (np.inf, [1] * 6),
    ],
)
def test_rewards_by_calls(fewest, expected):
    got = tool_use.nearness(M, jnp.full(6, fewest, jnp.float32), limit=4.0)
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_the_paper_writes_the_same_with_a_harmonic_mean():
    n = 3.0
    f = 2 * n * M / (M + n)
    np.testing.assert_allclose(
        tool_use.nearness(M, jnp.full(6, n), limit=4.0), jnp.sin(f * jnp.pi / (2 * n)), atol=1e-6
    )


def test_the_fewest_calls_are_remembered_by_prompt():
    calls = jnp.asarray([[3.0, 1.0], [5.0, 4.0], [2.0, jnp.nan]])
    correct = jnp.asarray([[True, False], [True, True], [False, True]])
    found, seen = tool_use.fewest(calls, correct, jnp.asarray([2, 0, 1]), jnp.asarray([2.0, jnp.inf, jnp.inf]))
    np.testing.assert_array_equal(found, [[3, 3], [2, 2], [jnp.inf, jnp.inf]])
    np.testing.assert_array_equal(seen, [2, jnp.inf, 3])


def test_prompts_without_a_place_are_not_remembered():
    found, seen = tool_use.fewest(jnp.ones((2, 1)), jnp.ones((2, 1), bool), jnp.asarray([-1, 7]), jnp.full(2, jnp.inf))
    np.testing.assert_array_equal(found, [[1], [1]])
    np.testing.assert_array_equal(seen, [jnp.inf, jnp.inf])
