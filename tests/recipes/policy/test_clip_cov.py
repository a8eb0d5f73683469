import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import weight
from posttrain_jax.recipes.policy.clip_cov import ClipCov
from posttrain_jax.recipes.policy.grpo import GRPO

PLAIN = GRPO(kl_coef=0.0, ddof=0, eps=0.0)


def step(recipe, batch):
    batch = dataclasses.replace(batch, old_logps=fx.OLD)
    value, gradient = jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)
    return value, gradient.logps


def left_out(recipe):
    return (fx.informed(recipe)[0].token_weights == 0) & fx.MASK


def test_without_candidates_it_is_grpo_by_tokens():
    """FX: token mean of the clipped surrogate."""
    recipe = ClipCov(PLAIN)
    value, gradient = step(recipe, fx.informed(recipe)[0])
    np.testing.assert_allclose(value, 0.118454563, atol=1e-6)
    plain = dataclasses.replace(PLAIN.credit(fx.ROLLOUT, fx.REWARDS), token_weights=weight.token_mean(fx.MASK))
    np.testing.assert_allclose(gradient, step(PLAIN, plain)[1], atol=1e-7)


def test_candidates_lie_between_the_bounds_and_are_not_clipped():
    """Covariances above 0 are at (0, 0), (0, 1), (1, 1) and (2, 2), none of which is clipped at 0.2."""
    drawn = left_out(ClipCov(PLAIN, share=1.0, low=0.0))
    assert np.argwhere(drawn[0]).tolist() == [[0, 0], [0, 1], [1, 1], [2, 2]]
    drawn = left_out(ClipCov(PLAIN, share=1.0, low=0.0, high=0.18))
    assert np.argwhere(drawn[0]).tolist() == [[2, 2]]
    tight = dataclasses.replace(PLAIN, clip_high=0.05)
    drawn = left_out(ClipCov(tight, share=1.0, low=0.0))
    assert np.argwhere(drawn[0]).tolist() == [[0, 1], [1, 1], [2, 2]]


def test_as_many_as_the_share_of_all_tokens_are_drawn_and_stay_in_the_denominator():
    recipe = ClipCov(PLAIN, share=0.25, low=0.0)
    batch, _ = fx.informed(recipe)
    drawn = left_out(recipe)
    assert drawn.sum() == 2
    whole = step(ClipCov(PLAIN), fx.informed(ClipCov(PLAIN))[0])[1]
    np.testing.assert_allclose(step(recipe, batch)[1], jnp.where(drawn, 0, whole), atol=1e-7)
    assert left_out(ClipCov(PLAIN, low=0.0)).sum() == 1


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="low="):
        ClipCov(low=5.0, high=1.0)
