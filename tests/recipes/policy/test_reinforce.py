import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax.recipes.policy.reinforce import REINFORCE


def loss(recipe, rewards=fx.REWARDS):
    return recipe.loss(fx.POLICY, recipe.credit(fx.ROLLOUT, rewards))[0]


def test_loss_by_hand():
    """Sums of log-probabilities -3.2, -1.7, -2.9, -1.9; rewards 1, 0, 0, 1."""
    np.testing.assert_allclose(loss(REINFORCE()), (3.2 + 1.9) / 4, rtol=1e-6)
    np.testing.assert_allclose(loss(REINFORCE(baseline=0.5)), (3.2 - 1.7 - 2.9 + 1.9) / 8, rtol=1e-6)


def test_a_failed_reward_leaves_the_denominator():
    got = loss(REINFORCE(), jnp.array([[1.0, 0.0, jnp.nan, 1.0]]))
    np.testing.assert_allclose(got, (3.2 + 1.9) / 3, rtol=1e-6)
