import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.nthr import NTHR
from posttrain_jax.recipes.policy.thr import THR

PLAIN = GRPO(kl_coef=0.0, ddof=0, eps=0.0)
INFLUENCES = jnp.array([[[0.4, -0.1, 0.3], [0.5, -0.5, 0], [0.1, 0.0, -0.3], [1.0, 0, 0]]])
"""The first and the last completion are right: their means are 0.2 and 1, so the threshold is 0.2."""


def shares(recipe, rewards=fx.REWARDS):
    """What each token's advantage is multiplied with."""
    batch = recipe.credit(fx.ROLLOUT, rewards, influences=INFLUENCES)
    plain = recipe.recipe.credit(fx.ROLLOUT, rewards)
    np.testing.assert_array_equal(batch.token_weights, plain.token_weights)
    return (batch.advantages / jnp.where(plain.advantages == 0, 1, plain.advantages))[0]


def test_worked_shares_of_thr():
    got = shares(THR(PLAIN, push=0.1))
    np.testing.assert_allclose(got, [[1.1, 0, 1.1], [0.9, 1.1, 0], [0, 0, 1.1], [1.1, 0, 0]], rtol=1e-6)
    got = shares(THR(PLAIN, push=-0.1))
    np.testing.assert_allclose(got, [[0.9, 0, 0.9], [1.1, 0.9, 0], [0, 0, 0.9], [0.9, 0, 0]], rtol=1e-6)


def test_without_push_and_threshold_only_idle_tokens_are_left_out():
    got = shares(THR(PLAIN, push=0.0, scale=0.0))
    np.testing.assert_array_equal(got, (INFLUENCES != 0)[0])


def test_worked_shares_of_nthr():
    """Half are right: eta is 0 on the one wrong token above the threshold 0.2; a quarter right makes it 1/2."""
    np.testing.assert_array_equal(shares(NTHR(PLAIN))[1:3], [[0, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(shares(NTHR(PLAIN))[::3], fx.MASK[0, ::3])
    got = shares(NTHR(PLAIN), jnp.array([[1.0, 0, 0, 0]]))
    np.testing.assert_allclose(got, [[1, 1, 1], [0.5, 1, 0], [1, 1, 1], [0.5, 0, 0]], rtol=1e-6)


def test_the_threshold_scales():
    got = shares(NTHR(PLAIN, scale=0.0))
    np.testing.assert_array_equal(got[1:3], [[0, 1, 0], [0, 1, 1]])


@pytest.mark.parametrize("recipe", [THR(PLAIN), NTHR(PLAIN)])
@pytest.mark.parametrize("rewards", [[0.6, 0.7, 0.8, 0.9], [0.1, 0.2, 0.3, 0.4]])
def test_groups_of_one_kind_stay_as_they_are(recipe, rewards):
    np.testing.assert_array_equal(shares(recipe, jnp.array([rewards])), fx.MASK[0])


def test_loss_and_reference_are_the_recipes():
    for recipe in (THR(), NTHR()):
        assert recipe.needs_ref
        assert not dataclasses.replace(recipe, recipe=PLAIN).needs_ref
        batch = recipe.credit(fx.ROLLOUT, fx.REWARDS, fx.REF, influences=INFLUENCES)
        np.testing.assert_array_equal(recipe.loss(fx.POLICY, batch)[0], recipe.recipe.loss(fx.POLICY, batch)[0])


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="push="):
        THR(push=1.1)
    with pytest.raises(ValueError, match="scale="):
        NTHR(scale=float("-inf"))
