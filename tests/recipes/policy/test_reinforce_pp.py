import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import returns
from posttrain_jax.recipes.policy.reinforce_pp import REINFORCEPlusPlus


def test_worked_advantages():
    """Returns 1.015, 1.01, 1.01; 0.01, 0.02; -0.01, -0.01, -0.02; 1.03."""
    batch = REINFORCEPlusPlus(kl_coef=0.1).credit(fx.ROLLOUT, fx.REWARDS, fx.REF)
    expected = [
        [1.051456, 1.042142, 1.042142],
        [-0.820674, -0.802045, 0],
        [-0.85793, -0.85793, -0.876558],
        [1.079398, 0, 0],
    ]
    np.testing.assert_allclose(batch.advantages[0], np.array(expected), atol=2e-6)
    np.testing.assert_allclose(batch.extra["kl"], jnp.where(fx.MASK, fx.OLD - fx.REF, 0), atol=1e-6)


def test_the_reward_is_compared_over_the_batch_and_not_within_the_group():
    rollout = dataclasses.replace(fx.ROLLOUT, groups=dataclasses.replace(fx.ROLLOUT.groups, group_ids=jnp.array([99])))
    batch = REINFORCEPlusPlus(kl_coef=0.0).credit(rollout, jnp.ones((1, 4)))
    np.testing.assert_array_equal(batch.advantages, 0)


def test_earlier_tokens_see_less_of_a_discounted_reward():
    batch = REINFORCEPlusPlus(kl_coef=0.0, discount=0.5).credit(fx.ROLLOUT, fx.REWARDS)
    first, second, third = batch.advantages[0, 0]
    assert first < second < third
    to_go = returns.to_go(returns.at_last(fx.REWARDS, fx.MASK), fx.MASK, discount=0.5)
    np.testing.assert_allclose(to_go[0, 0], [0.25, 0.5, 1])


@pytest.mark.parametrize("wrong", [{"clip_low": 0.0}, {"kl_coef": -0.1}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        REINFORCEPlusPlus(**wrong)
