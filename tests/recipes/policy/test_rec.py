import dataclasses

import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import trust
from posttrain_jax.recipes.policy.rec import REC


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (REC(trust.Everywhere()), 0.027777778),
        (REC(), -0.122222222),
        (REC(power=1.0), -0.147059945),
        (REC(trust.TwoSided(), power=1.0), -0.027894651),
        (REC(trust.Ring()), -0.030555556),
    ],
)
def test_worked_losses(recipe, expected):
    np.testing.assert_allclose(loss(recipe)[0], expected, atol=1e-6)


def test_tokens_outside_are_reported():
    _, metrics = loss(REC())
    inside = [[1, 1, 0], [1, 1, 0], [0, 1, 1], [0, 0, 0]]
    np.testing.assert_array_equal(1 - metrics["clip_fraction"][fx.MASK], np.array(inside)[fx.MASK[0]])
