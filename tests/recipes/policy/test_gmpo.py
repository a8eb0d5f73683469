import dataclasses

import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.gmpo import GMPO


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)


def test_worked_loss():
    value, metrics = loss(GMPO(ddof=0, eps=0.0))
    np.testing.assert_allclose(value, -0.131152149, atol=1e-6)
    np.testing.assert_allclose(metrics["ratio"][0, :, 0], [1.105171, 1.105171, 0.967216, 1.491825], atol=2e-6)
    # 0.6 is held at 0.4 and -0.5 at -0.4; 0.4 itself is not beyond.
    np.testing.assert_array_equal(np.argwhere(metrics["clip_fraction"][0]), [[2, 0], [3, 0]])


def test_a_wide_range_averages_geometrically():
    value, _ = loss(GMPO(clip_low=9.0, clip_high=9.0, ddof=0, eps=0.0))
    expected = (-np.exp(0.1) + np.exp(0.1) + np.exp(-0.2 / 3) - np.exp(0.6)) / 4
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"clip_low": 0.0}, {"clip_high": -0.4}])
def test_meaningless_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GMPO(**wrong)
