import jax.numpy as jnp
import numpy as np
import pytest
import turns

from posttrain_jax.losses import segment
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.hrpo import HRPO

R = jnp.asarray([[1.0, 0.0]])


def advantages(recipe, rollout, rewards=R):
    return turns.of_turns(recipe.credit(rollout, rewards).advantages)[0]


def test_actions_are_compared_with_all_actions_of_the_group():
    """Actions earn 1, 0, 0 and 0.5: their mean is 0.375."""
    rollout = turns.rollout([[[0, 1], [0, 1]]], rewards=[[[1.0, 0.0], [0.0, 0.5]]])
    got = advantages(HRPO(compare=segment.centered, step_coef=2.0), rollout)
    h = 0.5 / (0.5**0.5 + 1e-6)
    expected = np.array([[h, h], [-h, -h]]) + 2 * np.array([[0.625, -0.375], [-0.375, 0.125]])
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(("recipe", "earned"), [(HRPO(step_coef=0.0), [1.0, 3.0]), (HRPO(), [0.4, 0.4])])
def test_without_steps_or_with_equal_ones_it_is_grpo(recipe, earned):
    rollout = turns.rollout([[[0, 1], [0, 1]]], rewards=[[earned, earned]])
    expected = turns.of_turns(GRPO().credit(rollout, R).advantages)[0]
    np.testing.assert_allclose(advantages(recipe, rollout), expected, rtol=1e-6)


def test_actions_without_a_reward_are_not_compared():
    rollout = turns.rollout([[[0, 1], [0, 1]]], rewards=[[[1.0, np.nan], [0.0, np.nan]]])
    got = advantages(HRPO(compare=segment.centered), rollout, jnp.asarray([[0.3, 0.3]]))
    np.testing.assert_allclose(got, [[0.5, 0], [-0.5, 0]], rtol=1e-6)


def test_a_negative_coefficient_is_refused():
    with pytest.raises(ValueError, match="step_coef=-1"):
        HRPO(step_coef=-1.0)
