import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import masked, types
from posttrain_jax.recipes.policy.disco import DisCO
from posttrain_jax.recipes.policy.grpo import GRPO

ROLLOUT = dataclasses.replace(fx.ROLLOUT, sampler=fx.POLICY)


def step(recipe, rewards=fx.REWARDS):
    batch = recipe.credit(ROLLOUT, rewards)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)
    return value, gradient.logps


def objective(logps, tau):
    s = masked.mean(logps, fx.MASK, axis=-1)[0]
    return (s[0] + s[3]) / 2 - tau * (jax.nn.logsumexp(s[1:3] / tau) - jnp.log(2.0))


def test_worked_objective():
    """Scores -1.066667, -0.85, -0.966667, -1.9; the first and the last are good."""
    np.testing.assert_allclose(objective(fx.LOGPS, 10.0), -0.575170138, atol=1e-6)
    np.testing.assert_allclose(step(DisCO(tau=float("inf")))[0], 0.575, atol=1e-6)


@pytest.mark.parametrize("tau", [0.05, 1.0, 10.0])
def test_the_gradient_is_that_of_the_coupled_objective(tau):
    np.testing.assert_allclose(step(DisCO(tau=tau))[1], -jax.grad(objective)(fx.LOGPS, tau), atol=1e-6)


def test_worked_weights_of_the_bad():
    """The scores 1.127348 and 0.980609 (mean ratios of the fixture) at temperature 1."""
    scores = jnp.array([[1.138575, 1.127348, 0.980609, 1.822119]])
    rollout = dataclasses.replace(
        ROLLOUT, sampler=types.TokenStats(jnp.where(fx.MASK, scores[:, :, None], 0), fx.POLICY.entropy)
    )
    batch = DisCO(tau=1.0).credit(rollout, fx.REWARDS)
    np.testing.assert_allclose(batch.advantages[0, :, 0], [0.5, -0.536619, -0.463381, 0.5], atol=2e-6)


@pytest.mark.parametrize("rewards", [[1.0, 0, 0, 0], [1.0, 0, 0, 1], [1.0, 1, 1, 0]])
def test_grpo_is_this_times_the_spread_of_the_rewards(rewards):
    rewards = jnp.array([rewards])
    grpo = GRPO(kl_coef=0.0, ddof=0, eps=0.0)
    batch = grpo.credit(ROLLOUT, rewards)
    got = jax.grad(lambda policy: grpo.loss(policy, batch)[0])(fx.POLICY).logps
    p = float(rewards.mean())
    np.testing.assert_allclose(got, np.sqrt(p * (1 - p)) * step(DisCO(tau=float("inf")), rewards)[1], atol=1e-6)


def test_one_bad_completion_makes_the_temperature_idle():
    rewards = jnp.array([[1.0, 1, 1, 0]])
    np.testing.assert_allclose(step(DisCO(tau=0.01), rewards)[1], step(DisCO(), rewards)[1], atol=1e-7)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_kind_of_completion_teaches_nothing(value):
    np.testing.assert_array_equal(step(DisCO(), jnp.full((1, 4), value))[1], 0)


def test_a_second_update_on_one_rollout_is_refused():
    batch = dataclasses.replace(DisCO().credit(ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    with pytest.raises(ValueError, match="one update per rollout"):
        DisCO().loss(fx.POLICY, batch)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="tau"):
        DisCO(tau=0.0)
