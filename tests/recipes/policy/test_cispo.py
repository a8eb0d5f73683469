import dataclasses

import jax
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.cispo import CISPO


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)


def test_worked_loss():
    value, metrics = loss(CISPO(cap=1.28, ddof=0, eps=0.0))
    np.testing.assert_allclose(value, 0.153407972, atol=1e-6)
    np.testing.assert_array_equal(np.argwhere(metrics["clip_fraction"][0]), [[0, 2], [1, 0], [2, 2], [3, 0]])


def test_worked_gradient():
    """Every counted token keeps one: the weight is capped, and not differentiated."""
    recipe = CISPO(cap=1.28, ddof=0, eps=0.0)
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    got = jax.grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY).logps
    expected = [
        [-0.122797, -0.09097, -0.142222],
        [0.142222, 0.100537, 0],
        [0.067392, 0.116808, 0.142222],
        [-0.142222, 0, 0],
    ]
    np.testing.assert_allclose(got[0], np.array(expected), atol=2e-6)


def test_worked_loss_under_a_cap_that_nothing_reaches():
    np.testing.assert_allclose(loss(CISPO(ddof=0, eps=0.0))[0], 0.301849077, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"cap": 0.2}, {"cap": float("nan")}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CISPO(**wrong)
