import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from canonical_pair import GROUPS, POLICY, REF, groups, stats
from canonical_pair import step as plain_step

from posttrain_jax import types
from posttrain_jax.recipes.preference.length_normalized_dpo import LengthNormalizedDPO
from posttrain_jax.recipes.preference.trpa import TRPA

RATIOS = jnp.array([[[0.2], [-0.1], [0.05]]])
REWARDS = jnp.array([[1.0, 0.0, -2.0]])
"""Levels 1, 2 and 4 of the code."""


def run(recipe, policy, rewards, of, ref, old_logps=None):
    rollout = types.Rollout(of, policy, jnp.zeros(rewards.shape, bool))
    batch = dataclasses.replace(recipe.credit(rollout, rewards, ref), old_logps=old_logps)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(policy)
    return value, gradient.logps


def three(recipe, rewards=REWARDS, ratios=RATIOS, old_logps=None):
    of = groups(jnp.ones(ratios.shape, bool))
    return run(recipe, stats(ratios - 1), rewards, of, jnp.full(ratios.shape, -1.0), old_logps)


def test_worked_levels():
    value, gradient = three(TRPA(trust_coef=0.0))
    np.testing.assert_allclose(value, 0.677199, rtol=1e-6)
    slope = lambda h: 1 / (1 + np.exp(h)) / 3  # noqa: E731
    first, second, third = 0.25 * slope(0.075), 0.25 * slope(0.0375), 0.1 * slope(-0.015)
    np.testing.assert_allclose(gradient[0, :, 0], [-first - second, first - third, second + third], rtol=1e-5)
    single, _ = three(TRPA(trust_coef=0.0), jnp.array([[1.0, 0.0, jnp.nan]]))
    np.testing.assert_allclose(single, 0.656350, rtol=1e-6)
    single, _ = three(TRPA(trust_coef=0.0), jnp.array([[jnp.nan, 0.0, -2.0]]))
    np.testing.assert_allclose(single, 0.700675, rtol=1e-6)
    single, _ = three(TRPA(trust_coef=0.0), jnp.array([[1.0, jnp.nan, -2.0]]))
    np.testing.assert_allclose(single, 0.674573, rtol=1e-6)


def test_of_two_it_is_dpo_per_token():
    recipe = TRPA(best_factor=1.0, trust_coef=0.0)
    value, gradient = run(recipe, POLICY, jnp.array([[1.0, 0.0]]), GROUPS, REF)
    expected, expected_gradient = plain_step(LengthNormalizedDPO(beta=0.1))
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5)


def test_the_trust_region_counts_every_token():
    ratios = jnp.array([[[-0.2, -0.2]]])
    old = jnp.where(jnp.ones((1, 1, 2), bool), -1.0, 0)
    recipe = TRPA(trust_coef=1.0)
    value, _ = run(recipe, stats(ratios - 1), jnp.array([[0.0]]), groups(ratios < 1), ratios - 1, old)
    np.testing.assert_allclose(value, np.log(2) + 0.021403, rtol=1e-5)


def test_before_the_first_update_trust_pushes_nothing():
    got, expected = three(TRPA(trust_coef=1.0)), three(TRPA(trust_coef=0.0))
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(got[1], expected[1], rtol=1e-6)


def test_without_any_pair_each_completion_is_judged_by_itself():
    value, gradient = three(TRPA(trust_coef=0.0), jnp.ones((1, 3)))
    np.testing.assert_allclose(value, np.mean(np.log1p(np.exp(-RATIOS))), rtol=1e-5)
    value, gradient = three(TRPA(trust_coef=0.0), jnp.zeros((1, 3)))
    np.testing.assert_allclose(value, np.mean(np.log1p(np.exp(RATIOS))), rtol=1e-5)
    assert (gradient > 0).all()


def test_pairs_are_averaged_over_the_batch():
    two = jnp.concatenate([RATIOS, RATIOS])
    value, _ = three(TRPA(trust_coef=0.0), jnp.array([[1.0, 0.0, -2.0], [1.0, 0.0, jnp.nan]]), two)
    np.testing.assert_allclose(value, (3 * 0.677199 + 0.656350) / 4, rtol=1e-6)


def test_what_is_missing_or_meaningless_is_refused():
    with pytest.raises(ValueError, match="ref_logps"):
        run(TRPA(), POLICY, jnp.array([[1.0, 0.0]]), GROUPS, None)
    for wrong in ({"beta": 0.0}, {"best_factor": -1.0}, {"trust_coef": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TRPA(**wrong)
