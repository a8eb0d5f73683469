import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import ratio
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.opsm import OPSM
from posttrain_jax.recipes.policy.rloo import RLOO
from posttrain_jax.recipes.policy.tis import TIS

SAMPLER = jnp.array([[[-1.2, -0.5, -2.6], [-0.7, -1.0, 0], [-0.3, -1.9, -1.5], [-2.0, 0, 0]]])
ROLLOUT = dataclasses.replace(fx.ROLLOUT, sampler=dataclasses.replace(fx.ROLLOUT.sampler, logps=SAMPLER))
PLAIN = GRPO(kl_coef=0.0, ddof=0, eps=0.0)


def loss(recipe, rollout=ROLLOUT, old_logps=fx.OLD):
    batch = dataclasses.replace(recipe.credit(rollout, fx.REWARDS, fx.REF), old_logps=old_logps)
    return recipe.loss(fx.POLICY, batch)


def weighted_loss(weights):
    batch = dataclasses.replace(PLAIN.credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    weights = weights * jnp.ones_like(fx.OLD)
    return PLAIN.loss(fx.POLICY, dataclasses.replace(batch, token_weights=batch.token_weights * weights))[0]


def test_tokens_weigh_by_the_capped_ratio():
    value, metrics = loss(TIS(PLAIN))
    weights = jnp.array([[[1.221403, 1, 1.822119], [1, 0.818731, 0], [1, 2, 1], [0.606531, 0, 0]]])
    np.testing.assert_allclose(jnp.where(fx.MASK, metrics["sampler_weight"], 0), weights, atol=2e-6)
    np.testing.assert_allclose(value, weighted_loss(weights), rtol=1e-5)


def test_completions_weigh_by_their_capped_ratio():
    value, _ = loss(TIS(PLAIN, pool=ratio.sequence_sum))
    np.testing.assert_allclose(value, weighted_loss(jnp.array([[[2], [0.818731], [2], [0.606531]]])), rtol=1e-5)


def test_a_sampler_that_is_the_policy_needs_no_correction():
    np.testing.assert_allclose(loss(TIS(PLAIN), fx.ROLLOUT)[0], loss(PLAIN)[0], rtol=1e-6)


def test_without_old_the_policy_itself_stands_for_it():
    _, metrics = loss(TIS(PLAIN, cap=9.0), old_logps=None)
    np.testing.assert_allclose(metrics["sampler_weight"][fx.MASK], jnp.exp(fx.LOGPS - SAMPLER)[fx.MASK], rtol=1e-5)


def test_the_penalty_is_not_weighted():
    penalised, _ = loss(TIS(GRPO(kl_coef=0.04, ddof=0, eps=0.0)))
    np.testing.assert_allclose(penalised - loss(TIS(PLAIN))[0], 0.04 * 0.050316155, atol=1e-6)


def test_the_weight_is_not_differentiated():
    recipe = TIS(RLOO(kl_coef=0.0), pool=ratio.sequence_sum)
    batch = recipe.credit(ROLLOUT, fx.REWARDS)
    gradient, metrics = jax.grad(lambda policy: recipe.loss(policy, batch), has_aux=True)(fx.POLICY)
    signs = jnp.array([-1.0, 1.0, 1.0, -1.0])[None, :, None] / 6
    expected = jnp.where(fx.MASK, signs * metrics["sampler_weight"], 0)
    np.testing.assert_allclose(gradient.logps, expected, atol=1e-6)


def test_corrections_nest():
    got, metrics = loss(OPSM(TIS(PLAIN), limit=9.0))
    np.testing.assert_allclose(got, loss(TIS(PLAIN))[0], rtol=1e-6)
    assert set(metrics) == {"ratio", "clip_fraction", "entropy", "sampler_weight", "kept"}


def test_the_reference_is_needed_as_by_the_recipe():
    assert TIS(GRPO()).needs_ref
    assert not TIS(PLAIN).needs_ref


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="cap="):
        TIS(PLAIN, cap=0.5)
