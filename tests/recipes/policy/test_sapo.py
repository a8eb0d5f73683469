import dataclasses

import jax
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.sapo import SAPO


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)[0]


def test_worked_loss():
    np.testing.assert_allclose(loss(SAPO(ddof=0, eps=0.0)), -0.249377740, atol=1e-6)


def test_a_steep_gate_lets_nothing_far_through():
    recipe = SAPO(positive=200.0, negative=200.0)
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    gradient = jax.grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY).logps
    np.testing.assert_allclose(gradient, 0, atol=1e-3)


@pytest.mark.parametrize("wrong", [{"positive": 0.0}, {"negative": -1.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SAPO(**wrong)
