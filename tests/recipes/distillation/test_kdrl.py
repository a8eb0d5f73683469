"""KDRL by hand, and as GRPO with shifted advantages."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from whole_vocabulary import rollout

from posttrain_jax import types
from posttrain_jax.losses import divergence, guidance, surrogate
from posttrain_jax.recipes.distillation.kdrl import KDRL
from posttrain_jax.recipes.policy.grpo import GRPO

MASK = jnp.array([[[True, True], [True, False]], [[True, True], [True, True]]])
REWARDS = jnp.array([[1.0, 0.0], [0.0, 0.0]])
STUDENT = jnp.where(MASK, -1.0, 0.0)
TEACHER = jnp.where(MASK, jnp.array([[[-1.5, -0.2], [-0.3, 0.0]], [[-2.0, -1.0], [-0.1, -0.4]]]), 0.0)
CONSTANT = guidance.Falling(start=0.1, slope=0.0, floor=0.1)


def credit(recipe, rewards=REWARDS, step=0):
    def teacher(*_):
        return types.TokenStats(TEACHER, jnp.zeros(MASK.shape))

    lookup = types.Lookup(teacher, teacher, jax.random.key(0), fixed={"teacher": teacher})
    return recipe.credit(rollout(MASK, STUDENT), rewards, {}, lookup, jnp.int32(step))


def differentiate(recipe, batch, logps=STUDENT):
    def loss(x):
        return recipe.loss(types.TokenStats(x, jnp.zeros(MASK.shape)), batch)[0]

    return jax.value_and_grad(loss)(logps)


def test_one_token_by_hand():
    recipe = KDRL(CONSTANT)
    batch, _ = credit(recipe, jnp.zeros((2, 2)))
    value, gradient = differentiate(recipe, batch)
    weights = np.array([[[1 / 6, 1 / 6], [1 / 6, 0]], [[1 / 8, 1 / 8], [1 / 8, 1 / 8]]])
    np.testing.assert_allclose(gradient, weights * 0.1 * (STUDENT - TEACHER), atol=1e-7)
    np.testing.assert_allclose(gradient[0, 0, 0] / weights[0, 0, 0], 0.5 * 0.1, rtol=1e-5)
    np.testing.assert_allclose(value, np.sum(weights * 0.1 * (STUDENT - TEACHER) ** 2 / 2), rtol=1e-5)


def test_by_k3_it_pulls_as_the_forward_kl():
    """d = log teacher - log pi = -.5: the slope is 1 - exp(d), not .5; and k1, which pulls nowhere, is refused."""
    batch, _ = credit(KDRL(CONSTANT, penalty=divergence.k3_loss), jnp.zeros((2, 2)))
    gradient = differentiate(KDRL(CONSTANT, penalty=divergence.k3_loss), batch)[1]
    np.testing.assert_allclose(gradient[0, 0, 0], 0.1 * (1 - np.exp(-0.5)) / 6, rtol=1e-5)
    with pytest.raises(ValueError, match="0 in expectation"):
        KDRL(penalty=divergence.k1_value)


def test_on_policy_it_is_a_shift_of_the_advantages():
    recipe = KDRL(CONSTANT, distilled=guidance.failures)
    batch, _ = credit(recipe)
    coefficients = jnp.where(MASK & (REWARDS == 0)[:, :, None], 0.1, 0)
    np.testing.assert_allclose(batch.extra["coefficients"], coefficients, rtol=1e-6)
    shifted = batch.advantages + coefficients * (TEACHER - STUDENT)
    expected = jax.grad(lambda x: jnp.sum(batch.token_weights * surrogate.reinforce(x, shifted)))(STUDENT)
    np.testing.assert_allclose(differentiate(recipe, batch)[1], expected, atol=1e-7)


def test_without_the_teacher_it_is_grpo_by_tokens():
    recipe, plain = KDRL(guidance.Falling(start=0.0, slope=0.0, floor=0.0)), GRPO(kl_coef=0.0)
    batch, _ = credit(recipe)
    given = dataclasses.replace(plain.credit(rollout(MASK, STUDENT), REWARDS), token_weights=batch.token_weights)
    for got, expected in zip(differentiate(recipe, batch), differentiate(plain, given), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-7)


def test_the_coefficient_falls_with_the_steps_that_are_remembered():
    recipe = KDRL()
    assert recipe.init_memory() == 0
    batch, memory = credit(recipe, step=40)
    assert memory == 41
    np.testing.assert_allclose(batch.extra["coefficients"], jnp.where(MASK, 0.003, 0), rtol=1e-5)


def test_completions_whose_scoring_failed_do_not_count():
    batch, _ = credit(KDRL(CONSTANT), REWARDS.at[0, 1].set(jnp.nan))
    assert not batch.token_weights[0, 1].any()
    assert not batch.extra["coefficients"][0, 1].any()


def test_a_further_update_keeps_the_gradient_of_the_divergence():
    """Over all tokens of an older policy, the teacher's term has the gradient of KL(policy || teacher)."""
    table, old, teacher = (jax.random.normal(jax.random.key(seed), (1, 4, 1)) for seed in range(3))
    log_probs = [jax.nn.log_softmax(x, axis=1) for x in (table, old, teacher)]
    mask = jnp.ones((1, 4, 1), bool)
    batch = types.PolicyBatch(
        completion_mask=mask,
        advantages=jnp.zeros(mask.shape),
        token_weights=jnp.exp(log_probs[1]),
        old_logps=log_probs[1],
        extra={"teacher_logps": log_probs[2], "coefficients": jnp.ones(mask.shape)},
    )

    def loss(table):
        logps = jax.nn.log_softmax(table, axis=1)
        return KDRL().loss(types.TokenStats(logps, jnp.zeros(mask.shape)), batch)[0]

    def exact(table):
        logps = jax.nn.log_softmax(table, axis=1)
        return jnp.sum(jnp.exp(logps) * (logps - log_probs[2]))

    np.testing.assert_allclose(jax.grad(loss)(table), jax.grad(exact)(table), atol=1e-6)
