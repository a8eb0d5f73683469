import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.pass_at_k import PassAtK
from posttrain_jax.recipes.policy.pkpo import PKPO

REWARDS = jnp.array([[0.5, 0.2, 0.0, 1.0]])


def loss(recipe, rewards=REWARDS):
    return recipe.loss(fx.POLICY, recipe.credit(fx.ROLLOUT, rewards))[0]


def test_loss_by_hand():
    """Of the six pairs each is won by the better; log-probabilities sum to -3.2, -1.7, -2.9, -1.9."""
    advantages = np.array([0.3 + 0.5, 0.2, 0, 0.5 + 0.8 + 1.0]) / 6
    np.testing.assert_allclose(loss(PKPO(k=2)), advantages @ [3.2, 1.7, 2.9, 1.9] / 4, rtol=1e-5)


def test_the_whole_group_makes_pass_at_k_of_it():
    np.testing.assert_allclose(loss(PKPO(k=4)), loss(PassAtK()), rtol=1e-6)


def test_smaller_groups_learn_nothing():
    assert loss(PKPO(k=4), jnp.array([[0.5, 0.2, jnp.nan, 1.0]])) == 0


def test_a_second_update_on_one_rollout_is_refused():
    batch = dataclasses.replace(PKPO(k=2).credit(fx.ROLLOUT, REWARDS), old_logps=fx.OLD)
    with pytest.raises(ValueError, match="one update per rollout"):
        PKPO(k=2).loss(fx.POLICY, batch)


def test_meaningless_numbers_are_refused():
    with pytest.raises(ValueError, match="k=1"):
        PKPO(k=1)
