import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import ratio
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.mis import MIS

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


def test_completions_outside_the_band_are_silent_and_stay_in_the_denominator():
    """The completions' ratios are 2.2255, 0.8187, 2.7183 and 0.6065."""
    value, _ = loss(MIS(PLAIN, low=0.5, high=2.0, pool=ratio.sequence_sum))
    np.testing.assert_allclose(value, weighted_loss(jnp.array([[[0], [0.818731], [0], [0.606531]]])), rtol=1e-5)


def test_tokens_outside_the_band_are_silent():
    _, metrics = loss(MIS(PLAIN, low=0.7, high=2.0))
    weights = [[1.221403, 1, 1.822119], [1, 0.818731, 0], [1, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(jnp.where(fx.MASK[0], metrics["sampler_weight"][0], 0), np.array(weights), atol=2e-6)


def test_a_sampler_that_is_the_policy_needs_no_correction():
    np.testing.assert_allclose(loss(MIS(PLAIN), fx.ROLLOUT)[0], loss(PLAIN)[0], rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"low": 1.5}, {"high": 0.9}, {"low": -0.1}])
def test_bands_without_one_are_refused(wrong):
    with pytest.raises(ValueError, match="both sides of 1"):
        MIS(PLAIN, **wrong)
