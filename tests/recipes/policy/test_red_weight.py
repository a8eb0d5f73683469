import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.red_weight import REDWeight


def loss(recipe, rewards=fx.REWARDS):
    return recipe.loss(fx.POLICY, recipe.credit(fx.ROLLOUT, rewards))[0]


def test_worked_loss():
    np.testing.assert_allclose(loss(REDWeight()), 0.312135414, atol=1e-6)


def test_a_high_temperature_weighs_all_alike():
    np.testing.assert_allclose(loss(REDWeight(temperature=1e9)), 0.027777778, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        REDWeight(**wrong)
