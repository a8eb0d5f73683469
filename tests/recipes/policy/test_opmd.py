import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.dr_grpo import DrGRPO
from posttrain_jax.recipes.policy.opmd import OPMD


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)[0]


def test_worked_losses():
    np.testing.assert_allclose(loss(OPMD(drift_coef=0.0)), 0.027777778, atol=1e-6)
    np.testing.assert_allclose(loss(OPMD(drift_coef=0.1)), 0.038722222, atol=1e-6)


def test_at_the_old_policy_the_gradient_is_that_of_squared_differences_of_pairs():
    """With a_i = R_i - tau sum_t log-ratio: the gradient of sum over pairs (a_i - a_j)^2 / G^2 is 2 tau REINFORCE's."""
    tau = 0.3

    def pairs(logps):
        a = fx.REWARDS[0] - tau * jnp.sum(jnp.where(fx.MASK, logps - fx.OLD, 0), axis=-1)[0]
        return jnp.sum(jnp.triu((a[:, None] - a[None, :]) ** 2)) / 16

    centered = jnp.array([0.5, -0.5, -0.5, 0.5])[None, :, None]
    expected = -2 * tau * jnp.where(fx.MASK, centered, 0) / 4
    np.testing.assert_allclose(jax.grad(pairs)(fx.OLD), expected, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"drift_coef": -0.1}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OPMD(**wrong)


def test_all_pairs_of_penalised_rewards_lead_to_reinforce_whoever_sampled():
    """With a_i = r_i - tau log pi / pi_old (y_i): squared differences summed over pairs, over G^2, have at pi_old 2 tau
    times the gradient of centred REINFORCE over whole completions."""
    tau = 0.3

    def pairs(logps):
        a = fx.REWARDS[0] - tau * jnp.sum(logps - fx.OLD, axis=-1)[0]
        return jnp.sum((a[:, None] - a[None, :]) ** 2) / 2 / 16

    plain = DrGRPO(max_length=1)
    batch = plain.credit(fx.ROLLOUT, fx.REWARDS)
    expected = jax.grad(lambda x: plain.loss(dataclasses.replace(fx.POLICY, logps=x), batch)[0])(fx.OLD)
    got = jnp.where(fx.MASK, jax.grad(pairs)(fx.OLD), 0)
    np.testing.assert_allclose(got, 2 * tau * expected, atol=1e-6)
