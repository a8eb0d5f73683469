import dataclasses

import jax
import numpy as np
import worked_numbers as fx

from posttrain_jax.losses import ratio
from posttrain_jax.recipes.policy.topr import TOPR


def loss(recipe, rewards=fx.REWARDS):
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, rewards), old_logps=fx.OLD)
    return recipe.loss(fx.POLICY, batch)[0]


def test_loss_by_hand():
    """Completions' log-ratios 0.3, 0.2, -0.2, 0.6; only the third, a bad one, has become less likely."""
    expected = (0.5 * 3.2 - 0.5 * 1.7 - 0.5 * np.exp(-0.2) * 2.9 + 0.5 * 1.9) / 4
    np.testing.assert_allclose(loss(TOPR(baseline=0.5)), expected, rtol=1e-5)


def test_by_token_every_bad_token_fades_on_its_own():
    """The ratios of the two bad completions: e^0.3, e^-0.1 and e^-0.5, e^0.05, e^0.25, of which those above 1 are 1."""
    second = 0.4 + np.exp(-0.1) * 1.3
    third = np.exp(-0.5) * 0.8 + 0.85 + 1.25
    expected = (0.5 * 3.2 - 0.5 * second - 0.5 * third + 0.5 * 1.9) / 4
    np.testing.assert_allclose(loss(TOPR(baseline=0.5, pool=ratio.per_token)), expected, rtol=1e-5)


def test_the_weight_is_not_differentiated():
    recipe = TOPR(baseline=0.5)
    batch = dataclasses.replace(recipe.credit(fx.ROLLOUT, fx.REWARDS), old_logps=fx.OLD)
    gradient = jax.grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY).logps
    expected = np.array([-1, 1, np.exp(-0.2), -1])[None, :, None] / 8 * np.asarray(fx.MASK)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
