import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.occupancy_regularized import OccupancyRegularized
from posttrain_jax.recipes.policy.rloo import RLOO


def test_without_weight_it_is_the_recipe():
    ours = OccupancyRegularized(0.0).credit(fx.ROLLOUT, fx.REWARDS, fx.REF)
    plain = RLOO(kl_coef=0.0).credit(fx.ROLLOUT, fx.REWARDS)
    np.testing.assert_allclose(ours.advantages, plain.advantages)


def test_the_penalty_by_hand():
    """log u = -.15, -.1, .1, -.3; chi2 is negative as estimated, so nothing is divided."""
    rewards = jnp.zeros((1, 4))
    batch = OccupancyRegularized(2.0, trim=0.0).credit(fx.ROLLOUT, rewards, fx.REF)
    paid = 2 * np.expm1([-0.15, -0.1, 0.1, -0.3])
    expected = -(paid - (paid.sum() - paid) / 3)
    np.testing.assert_allclose(batch.advantages[0, :, 0], expected, atol=1e-6)


def test_the_penalty_is_divided_by_the_root():
    further = fx.OLD - jnp.where(fx.MASK, 0.5, 0)  # every ratio above 1
    batch = OccupancyRegularized(1.0, trim=0.0).credit(fx.ROLLOUT, jnp.zeros((1, 4)), further)
    excess = np.expm1([1.5, 1.0, 1.5, 0.5])
    paid = excess / np.sqrt(excess.mean())
    expected = -(paid - (paid.sum() - paid) / 3)
    np.testing.assert_allclose(batch.advantages[0, :, 0], expected, rtol=1e-5)


def test_ratios_of_astronomical_size_are_held():
    far = fx.OLD - jnp.where(fx.MASK, 40.0, 0)
    batch = OccupancyRegularized(1.0).credit(fx.ROLLOUT, fx.REWARDS, far)
    assert np.all(np.isfinite(batch.advantages))


def test_a_second_divergence_is_refused():
    with pytest.raises(ValueError, match="GRPO weighs a divergence itself"):
        OccupancyRegularized(1.0, GRPO(kl_coef=0.1))
    with pytest.raises(ValueError, match="coef=-1"):
        OccupancyRegularized(-1.0)
