import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.dr_grpo import DrGRPO


def loss(recipe, rewards=fx.REWARDS):
    batch = recipe.credit(fx.ROLLOUT, rewards)
    return recipe.loss(fx.POLICY, dataclasses.replace(batch, old_logps=fx.OLD))[0]


def test_worked_loss():
    """Centred advantages are half the standardised ones that the number was worked out with."""
    np.testing.assert_allclose(loss(DrGRPO(max_length=3)), 0.088840922 / 2, atol=1e-6)


def test_the_divisor_is_the_constant_given_and_not_the_padded_width():
    np.testing.assert_allclose(loss(DrGRPO(max_length=30)), loss(DrGRPO(max_length=3)) / 10, rtol=1e-6)


def test_long_completions_pull_as_hard_per_token_as_short_ones():
    weights = DrGRPO(max_length=3).credit(fx.ROLLOUT, fx.REWARDS).token_weights
    np.testing.assert_allclose(weights[fx.MASK], 1 / 12, rtol=1e-6)


def test_advantages_keep_the_unit_of_the_rewards():
    np.testing.assert_allclose(loss(DrGRPO(max_length=3), 8 * fx.REWARDS), 8 * loss(DrGRPO(max_length=3)), rtol=1e-5)
    assert jnp.isfinite(loss(DrGRPO(max_length=3), jnp.full((1, 4), jnp.nan)))


@pytest.mark.parametrize("wrong", [{"max_length": 0}, {"max_length": 3, "clip_low": 0.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=r"max_length|clip_low"):
        DrGRPO(**wrong)
