import dataclasses

import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax.recipes.policy.gspo import GSPO
from posttrain_jax.recipes.policy.luspo import LUSPO


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)[0]


PLAIN = LUSPO(GSPO(clip_low=0.2, clip_high=0.2, ddof=0, eps=0.0))


def test_loss_by_hand():
    """GSPO's losses of the four completions, times the lengths 3, 2, 3 and 1."""
    terms = [-3 * np.exp(0.1), 2 * np.exp(0.1), 3 * np.exp(-0.2 / 3), -1.2]
    np.testing.assert_allclose(loss(PLAIN), np.sum(terms) / 4, rtol=1e-5)


def test_failed_rewards_do_not_count():
    np.testing.assert_allclose(
        loss(PLAIN, jnp.array([[1.0, 0.0, jnp.nan, jnp.nan]])), (-3 * np.exp(0.1) + 2 * np.exp(0.1)) / 2, rtol=1e-5
    )
