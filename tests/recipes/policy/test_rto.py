import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import types
from posttrain_jax.losses import advantage, returns
from posttrain_jax.recipes.policy.reinforce_pp import REINFORCEPlusPlus
from posttrain_jax.recipes.policy.rto import RTO

DPO = jnp.array([[[-1.0, -2.0, -0.5]]])
REF = jnp.array([[[-1.5, -1.8, -3.0]]])
POLICY = jnp.array([[[-1.2, -1.9, -0.6]]])
ROLLOUT = types.Rollout(
    groups=types.Groups(
        prompts=jnp.zeros((1, 1), int),
        prompt_lengths=jnp.ones(1, int),
        completions=jnp.zeros((1, 1, 3), int),
        completion_lengths=jnp.array([[3]]),
        completion_mask=jnp.ones((1, 1, 3), bool),
        group_ids=jnp.array([0]),
    ),
    sampler=types.TokenStats(logps=POLICY, entropy=jnp.zeros((1, 1, 3))),
    truncated=jnp.zeros((1, 1), bool),
)


def stats(logps, values=None):
    return types.TokenStats(logps, jnp.zeros_like(logps), values=values)


def lookup(ref_logps=REF, dpo_logps=DPO, policy=ROLLOUT.sampler):
    fixed = {"dpo": lambda *_: stats(dpo_logps)}
    return types.Lookup(lambda *_: policy, lambda *_: stats(ref_logps), jax.random.key(0), fixed)


def credit(recipe, rewards=1.3, **given):
    return recipe.credit(ROLLOUT, jnp.array([[rewards]]), {}, lookup(**given), recipe.init_memory())[0]


def test_worked_token_rewards():
    np.testing.assert_allclose(credit(RTO()).extra["token_reward"], [[[0.022, -0.009, 1.326]]], atol=1e-6)
    np.testing.assert_allclose(credit(RTO(kl_coef=0.0), 0.0).extra["token_reward"], [[[0.025, -0.01, 0.05]]], atol=1e-6)


def test_rewards_of_completions_are_held():
    np.testing.assert_allclose(credit(RTO(), 99.0).extra["token_reward"][0, 0, 2], 10 + 0.026, rtol=1e-6)


def test_unclipped_they_add_up_to_the_implicit_reward():
    recipe = RTO(dpo_coef=0.1, dpo_limit=100.0, kl_coef=0.0)
    np.testing.assert_allclose(jnp.sum(credit(recipe, 0.0).extra["token_reward"]), 0.1 * jnp.sum(DPO - REF), rtol=1e-5)


def test_without_critic_and_discount_advantages_are_rewards_to_go():
    batch = credit(RTO(trace=returns.Constant(1.0)))
    expected = advantage.whitened(
        returns.to_go(batch.extra["token_reward"], batch.completion_mask), batch.completion_mask
    )
    np.testing.assert_allclose(batch.advantages, expected, rtol=1e-5)


def test_a_critic_is_subtracted_and_fitted():
    values = jnp.array([[[1.0, 1.2, 1.3]]])
    recipe = RTO(trace=returns.Constant(0.0), value_coef=0.5)
    batch = credit(recipe, policy=stats(POLICY, values))
    raw = batch.extra["token_reward"] + jnp.array([[[1.2, 1.3, 0.0]]]) - values
    np.testing.assert_allclose(batch.advantages, advantage.whitened(raw, batch.completion_mask), rtol=1e-5)
    gradient = jax.grad(lambda policy: recipe.loss(policy, batch)[0])(stats(POLICY, values))
    np.testing.assert_allclose(gradient.values, -0.5 / 3 * raw, rtol=1e-5)
    without = credit(RTO(value_coef=0.5))
    assert RTO(value_coef=0.5).loss(stats(POLICY), without)[0] == RTO(value_coef=0.0).loss(stats(POLICY), without)[0]


def test_without_the_dpo_model_it_is_ppo_with_a_divergence_in_the_reward():
    recipe = RTO(dpo_coef=0.0, trace=returns.Constant(1.0))
    asked = lookup(fx.REF, fx.LOGPS, fx.POLICY)
    batch, _ = recipe.credit(fx.ROLLOUT, fx.REWARDS, {}, asked, recipe.init_memory())
    other = REINFORCEPlusPlus(kl_coef=0.01).credit(fx.ROLLOUT, fx.REWARDS, fx.REF)
    np.testing.assert_allclose(batch.advantages, other.advantages, atol=1e-5)
    got, expected = (
        jax.value_and_grad(lambda policy: r.loss(policy, dataclasses.replace(b, old_logps=fx.OLD))[0])(fx.POLICY)  # noqa: B023
        for r, b in [(recipe, batch), (REINFORCEPlusPlus(kl_coef=0.01), other)]
    )
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(got[1].logps, expected[1].logps, atol=1e-6)


def test_nothing_of_the_reward_has_a_gradient():
    def total(ref_logps):
        return jnp.sum(credit(RTO(), ref_logps=ref_logps).extra["token_reward"])

    np.testing.assert_array_equal(jax.grad(total)(REF), 0)


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="RTO asks the model 'dpo'"):
        RTO().credit(ROLLOUT, jnp.array([[1.3]]), {}, dataclasses.replace(lookup(), fixed={}), ())
    with pytest.raises(ValueError, match="clip_low"):
        RTO(clip_range=2.0)
