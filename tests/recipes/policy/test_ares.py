import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import divergence, effort
from posttrain_jax.recipes.policy.ares import ARES
from posttrain_jax.recipes.policy.grpo import GRPO

WEAK = dataclasses.replace(effort.none(), alpha=jnp.zeros(3))


def test_without_strength_it_is_grpo_with_a_fixed_divergence():
    recipe = ARES(width=1, kl_coef=0.3)
    batch, memory = fx.informed(recipe, memory=WEAK)
    plain = GRPO(kl_coef=0.0)
    held = plain.credit(fx.ROLLOUT, fx.REWARDS)
    kl = 0.3 * jnp.sum(held.token_weights * divergence.k3_loss(fx.LOGPS, fx.REF))
    np.testing.assert_allclose(recipe.loss(fx.POLICY, batch)[0], plain.loss(fx.POLICY, held)[0] + kl, rtol=1e-5)
    assert float(memory.steps) == 1
    assert float(memory.tau) == 1


def test_wavering_is_worth_what_the_bucket_says():
    """Two of four are right: a medium prompt. Of windows of one token the four have 2, 1, 2 and 0, their mean 1.25."""
    recipe = ARES(width=1)
    batch, _ = fx.informed(recipe)
    counts, right = jnp.asarray([[2.0, 1.0, 2.0, 0.0]]), fx.REWARDS > 0.5
    medium = jnp.ones((1, 4))
    paid = fx.REWARDS + effort.worth(counts, medium, right, medium, 0.5 * medium)
    np.testing.assert_allclose(batch.advantages, GRPO(kl_coef=0.0).credit(fx.ROLLOUT, paid).advantages, rtol=1e-5)


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="width=0"):
        ARES(width=0)
