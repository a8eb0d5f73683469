import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax.recipes.policy.gspo import GSPO
from posttrain_jax.recipes.policy.gspo_token import GSPOToken

PLAIN = GSPO(clip_low=0.2, clip_high=0.2)


def step(recipe, batch):
    return jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)


def test_one_advantage_for_each_completion_makes_gspo_of_it():
    batch = dataclasses.replace(PLAIN.credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    value, gradient = step(GSPOToken(PLAIN), batch)
    expected_value, expected_gradient = step(PLAIN, batch)
    np.testing.assert_allclose(value, expected_value, atol=1e-7)
    np.testing.assert_allclose(gradient.logps, expected_gradient.logps, atol=1e-7)


def test_an_advantage_on_one_token_moves_that_token_alone():
    batch = dataclasses.replace(PLAIN.credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    batch = dataclasses.replace(batch, advantages=jnp.zeros_like(fx.OLD).at[0, 0, 1].set(1.0))
    _, gradient = step(GSPOToken(PLAIN), batch)
    np.testing.assert_allclose(gradient.logps, jnp.zeros_like(fx.OLD).at[0, 0, 1].set(-np.exp(0.1) / 12), atol=1e-6)
    _, shared = step(PLAIN, batch)
    np.testing.assert_allclose(shared.logps[0, 0], jnp.full(3, -np.exp(0.1) / 36), atol=1e-6)
