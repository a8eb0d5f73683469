import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax.recipes.policy.pass_at_k import PassAtK


def loss(recipe, rewards=fx.REWARDS):
    return recipe.loss(fx.POLICY, recipe.credit(fx.ROLLOUT, rewards))[0]


def test_loss_by_hand():
    """Only the last completion (log-probability -1.9) is best, by 0.5 over the second."""
    np.testing.assert_allclose(loss(PassAtK(), jnp.array([[0.5, 0.2, 0.0, 1.0]])), 0.5 * 1.9 / 4, rtol=1e-6)


def test_two_that_are_best_learn_nothing():
    assert loss(PassAtK()) == 0


def test_a_failed_reward_is_not_the_second_best():
    got = loss(PassAtK(), jnp.array([[0.5, jnp.nan, 0.0, 1.0]]))
    np.testing.assert_allclose(got, 0.5 * 1.9 / 3, rtol=1e-6)
