"""A limit on the divergence: the worked push, the gradient of the divergence, and the tilted optimum."""

import dataclasses

import enumeration
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax import masked, types
from posttrain_jax.losses import divergence, generator, multiplier
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.kl_limited import KLLimited
from posttrain_jax.recipes.policy.rloo import RLOO

PLAIN = RLOO(kl_coef=0.0)


def mean_kl():
    return masked.mean(divergence.k1_value(fx.OLD, fx.REF), fx.MASK)


def test_the_multiplier_climbs_by_what_is_over_the_limit():
    recipe = KLLimited(0.01, multiplier.DualAscent(2.0), PLAIN)
    _, memory = fx.informed(recipe, memory=jnp.float32(3.0))
    np.testing.assert_allclose(memory, 3 + 2 * (mean_kl() - 0.01), rtol=1e-5)


def test_the_loss_is_the_recipes_and_the_weighted_divergence():
    recipe = KLLimited(0.01, multiplier.DualAscent(2.0), PLAIN)
    batch, _ = fx.informed(recipe, memory=jnp.float32(3.0))

    def expected(policy):
        plain = PLAIN.loss(policy, PLAIN.credit(fx.ROLLOUT, fx.REWARDS))[0]
        each = divergence.sampled_loss(generator.ReverseKL(), policy.logps, fx.REF, None)
        return plain + 3 * masked.mean(each, fx.MASK)

    got = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)
    wanted = jax.value_and_grad(expected)(fx.POLICY)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got, wanted)
    _, metrics = recipe.loss(fx.POLICY, batch)
    np.testing.assert_allclose(metrics["multiplier"], [3.0])


def test_without_a_multiplier_it_is_the_recipe():
    recipe = KLLimited(1e-3, multiplier.DualAscent(1.0), GRPO(kl_coef=0.0))
    batch, _ = fx.informed(recipe)
    batch = dataclasses.replace(batch, old_logps=fx.OLD)
    plain = dataclasses.replace(GRPO(kl_coef=0.0).credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    np.testing.assert_allclose(recipe.loss(fx.POLICY, batch)[0], GRPO(kl_coef=0.0).loss(fx.POLICY, plain)[0], rtol=1e-6)


def test_expected_gradient_of_one_token_is_that_of_reward_less_weighted_divergence():
    """All completions of one token listed; the multiplier stands still at .8."""
    language = enumeration.Language(length=1)
    table, ref, rewards = enumeration.random(language, 0)
    recipe = KLLimited(1e-3, multiplier.DualAscent(1e-9), PLAIN)

    class Held:
        needs_ref = True
        loss = staticmethod(recipe.loss)

        @staticmethod
        def credit(rollout, rewards, ref_logps):
            stats = types.TokenStats(ref_logps, jnp.zeros_like(ref_logps))
            lookup = types.Lookup(lambda *_: stats, lambda *_: stats, jax.random.key(0))
            return recipe.credit(rollout, rewards, {}, lookup, jnp.float32(0.8))[0]

    def objective(table):
        log_probs, ref_probs = language.log_probs(table), language.log_probs(ref)
        return jnp.sum(jnp.exp(log_probs) * (rewards - 0.8 * (log_probs - ref_probs)))

    got = enumeration.expected_gradient(Held, language, table, rewards, ref_table=ref)
    np.testing.assert_allclose(got, -jax.grad(objective)(table), atol=2e-6)


def test_a_second_divergence_and_no_limit_are_refused():
    with pytest.raises(ValueError, match="GRPO weighs a divergence itself"):
        KLLimited(0.1, recipe=GRPO(kl_coef=0.1))
    with pytest.raises(ValueError, match="limit=0"):
        KLLimited(0.0)
