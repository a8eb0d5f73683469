import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax.recipes.policy.opo import OPO


def loss(recipe, rewards=fx.REWARDS):
    return recipe.loss(fx.POLICY, recipe.credit(fx.ROLLOUT, rewards))[0]


def test_loss_by_hand():
    """The baseline is 4/9; sums of log-probabilities -3.2, -1.7, -2.9, -1.9."""
    np.testing.assert_allclose(loss(OPO()), (5 / 9 * 3.2 - 4 / 9 * 1.7 - 4 / 9 * 2.9 + 5 / 9 * 1.9) / 4, rtol=1e-5)


def test_a_failed_reward_leaves_the_baseline():
    batch = OPO().credit(fx.ROLLOUT, jnp.array([[1.0, 0.0, jnp.nan, 1.0]]))
    np.testing.assert_allclose(batch.advantages[0, :, 0], np.array([1 / 3, -2 / 3, 0, 1 / 3]), atol=1e-6)
