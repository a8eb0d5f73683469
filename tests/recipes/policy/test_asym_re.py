import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import trust
from posttrain_jax.recipes.policy.asym_re import AsymRE
from posttrain_jax.recipes.policy.rec import REC


def loss(recipe, rewards=fx.REWARDS):
    return recipe.loss(fx.POLICY, recipe.credit(fx.ROLLOUT, rewards))[0]


def test_worked_losses():
    np.testing.assert_allclose(loss(AsymRE(shift=0.0)), 0.027777778, atol=1e-6)
    np.testing.assert_allclose(loss(AsymRE(shift=-0.1)), 0.135555556, atol=1e-6)


def test_the_shift_is_imitation():
    """It takes 0.1 times the mean log-probability off the loss of plain REINFORCE."""
    plain = loss(REC(trust.Everywhere()))
    imitation = jnp.mean(fx.LOGPS[fx.MASK])
    np.testing.assert_allclose(loss(AsymRE(shift=-0.1)), plain - 0.1 * imitation, atol=1e-6)


def test_it_does_not_ask_whose_completions_they_are():
    batch = AsymRE().credit(fx.ROLLOUT, fx.REWARDS)
    moved = dataclasses.replace(batch, old_logps=fx.OLD)
    assert AsymRE().loss(fx.POLICY, batch)[0] == AsymRE().loss(fx.POLICY, moved)[0]


@pytest.mark.parametrize("wrong", [{"shift": 0.1}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AsymRE(**wrong)
