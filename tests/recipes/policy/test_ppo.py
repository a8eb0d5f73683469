import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import advantage, returns, value
from posttrain_jax.recipes.policy.ppo import PPO
from posttrain_jax.recipes.policy.reinforce_pp import REINFORCEPlusPlus
from posttrain_jax.recipes.policy.value_pretraining import ValuePretraining
from posttrain_jax.recipes.policy.vapo import VAPO

OLD_VALUES = jnp.where(fx.MASK, jnp.array([[[0.2, 0.5, 0.6]]]), 0)
CRITIC = dataclasses.replace(fx.POLICY, values=OLD_VALUES)
"""Before the update."""
MOVED = dataclasses.replace(fx.POLICY, values=jnp.where(fx.MASK, jnp.array([[[0.3, 0.9, 0.6]]]), 0))
PLAIN = PPO(kl_coef=0.0)


def credit(recipe, rewards=fx.REWARDS, policy=CRITIC):
    return fx.informed(recipe, rewards, policy=policy)[0]


def step(recipe, batch, policy=MOVED):
    batch = dataclasses.replace(batch, old_logps=fx.OLD)
    (loss, metrics), gradient = jax.value_and_grad(lambda p: recipe.loss(p, batch), has_aux=True)(policy)
    return loss, gradient, metrics


@pytest.mark.parametrize(
    ("trace", "expected"), [(0.95, [0.756, 0.48, 0.4]), (1.0, [0.8, 0.5, 0.4]), (0.0, [0.3, 0.1, 0.4])]
)
def test_worked_returns(trace, expected):
    """FX: advantages of the first completion, reward 1, and the returns above its values."""
    batch = credit(dataclasses.replace(PLAIN, critic_trace=returns.Constant(trace)))
    np.testing.assert_allclose((batch.extra["returns"] - OLD_VALUES)[0, 0], expected, atol=1e-6)


def test_worked_value_loss():
    """FX: returns 0.956, 0.98 and 1 of the first completion."""
    batch = credit(PLAIN)
    np.testing.assert_allclose(batch.extra["returns"][0, 0], [0.956, 0.98, 1.0], atol=1e-6)
    errors = step(PLAIN, batch)[2]["value_error"]
    np.testing.assert_allclose(jnp.mean(errors[0, 0]), 0.111456, atol=1e-6)


def test_a_critic_that_expects_nothing_makes_it_reinforce_pp():
    """Traces of 1: the advantages are the whitened returns, and the policy's gradient is the same."""
    recipe = PPO(kl_coef=0.1, trace=returns.Constant(1.0))
    blank = dataclasses.replace(fx.POLICY, values=jnp.zeros_like(OLD_VALUES))
    other = REINFORCEPlusPlus(kl_coef=0.1)
    batch, plain = credit(recipe, policy=blank), other.credit(fx.ROLLOUT, fx.REWARDS, fx.REF)
    np.testing.assert_allclose(batch.advantages, plain.advantages, atol=1e-6)
    np.testing.assert_allclose(batch.advantages[0, 0], [1.051456, 1.042142, 1.042142], atol=3e-6)
    got, expected = step(recipe, batch, blank)[1], step(other, plain)[1]
    np.testing.assert_allclose(got.logps, expected.logps, atol=1e-7)


def test_a_critic_that_knows_leaves_nothing_to_learn():
    knowing = dataclasses.replace(fx.POLICY, values=jnp.where(fx.MASK, fx.REWARDS[:, :, None], 0))
    batch = credit(PLAIN, policy=knowing)
    _, gradient, _ = step(PLAIN, batch, knowing)
    np.testing.assert_array_equal(gradient.logps, 0)
    np.testing.assert_array_equal(gradient.values, 0)


def test_the_parts_of_the_loss_add_up():
    recipe = PPO(kl_coef=0.0, value_coef=0.5, entropy_coef=0.01)
    batch = credit(recipe)
    loss, gradient, _ = step(recipe, batch)
    bare, bare_gradient, metrics = step(PPO(kl_coef=0.0, value_coef=0.0), batch)
    np.testing.assert_allclose(loss - bare, (0.5 * metrics["value_error"][fx.MASK].sum() - 0.01 * 9) / 9, atol=1e-6)
    np.testing.assert_allclose(gradient.logps, bare_gradient.logps, atol=1e-7)
    np.testing.assert_allclose(gradient.entropy[fx.MASK], -0.01 / 9, rtol=1e-5)
    expected = jax.grad(lambda v: value.clipped(v, OLD_VALUES, batch.extra["returns"]).sum())(MOVED.values)
    np.testing.assert_allclose(gradient.values, 0.5 * expected / 9, atol=1e-7)


def test_vapo_is_ppo_with_traces_by_length_and_imitation_of_what_was_right():
    recipe = VAPO()
    batch = credit(recipe)
    actor = returns.gae(
        returns.at_last(fx.REWARDS, fx.MASK), OLD_VALUES, fx.MASK, trace=jnp.zeros((1, 4))
    )  # lengths below 20 tokens
    np.testing.assert_allclose(batch.advantages, advantage.whitened(actor, fx.MASK), atol=1e-6)
    np.testing.assert_allclose(batch.extra["returns"][0, 0], [1, 1, 1], atol=1e-6)
    gradient, plain = step(recipe, batch)[1], step(recipe.recipe, batch)[1]
    right = jnp.where(fx.MASK, fx.REWARDS[:, :, None], 0)
    np.testing.assert_allclose(gradient.logps - plain.logps, -0.1 * right / 4, atol=1e-7)
    none = credit(recipe, jnp.zeros((1, 4)))
    np.testing.assert_allclose(step(recipe, none)[0], step(recipe.recipe, none)[0], atol=1e-7)


def test_traces_by_length():
    lengths = jnp.array([[10, 20, 40, 100, 1000]])
    np.testing.assert_allclose(returns.LengthAdaptive(0.05)(lengths), [[0, 0, 0.5, 0.8, 0.98]], atol=1e-6)
    np.testing.assert_allclose(returns.Constant(0.95)(lengths), 0.95)


def test_pretraining_fits_rewards_and_holds_the_policy():
    recipe = ValuePretraining()
    batch = recipe.credit(fx.ROLLOUT, fx.REWARDS)
    loss, gradient, _ = step(recipe, batch)
    errors = jnp.where(fx.MASK, MOVED.values - fx.REWARDS[:, :, None], 0)
    np.testing.assert_allclose(loss, jnp.sum(errors**2) / 18, rtol=1e-6)
    np.testing.assert_allclose(gradient.values, errors / 9, atol=1e-7)
    np.testing.assert_array_equal(gradient.logps, 0)


def test_a_missing_critic_and_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="critic is needed"):
        credit(PLAIN, policy=fx.POLICY)
    with pytest.raises(ValueError, match="value_clip="):
        PPO(value_clip=0.0)
    with pytest.raises(ValueError, match="nll_coef="):
        VAPO(nll_coef=-1.0)
    with pytest.raises(ValueError, match="trace="):
        returns.Constant(1.1)
    with pytest.raises(ValueError, match="alpha="):
        returns.LengthAdaptive(0.0)
