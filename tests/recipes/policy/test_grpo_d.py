import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import schedule
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.grpo_d import GRPOD


def gradient(recipe, batch):
    return jax.value_and_grad(lambda policy: recipe.loss(policy, batch)[0])(fx.POLICY)


@pytest.mark.parametrize(("step", "coef"), [(0, 0.07), (30, 0.04), (100, 0.1)])
def test_at_each_step_it_is_grpo_of_that_weight(step, coef):
    recipe = GRPOD(schedule.Valley(0.04, 0.1, 30, 100))
    batch, memory = fx.informed(recipe, memory=jnp.float32(step))
    plain = GRPO(kl_coef=coef)
    expected = gradient(plain, plain.credit(fx.ROLLOUT, fx.REWARDS, fx.REF))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), gradient(recipe, batch), expected)
    assert float(memory) == step + 1


def test_a_recipe_that_weighs_a_divergence_itself_is_refused():
    with pytest.raises(ValueError, match="set its kl_coef to 0"):
        GRPOD(schedule.Linear(0.0, 1.0, 2), GRPO())


def test_a_missing_reference_is_named():
    recipe = GRPOD(schedule.Linear(0.0, 1.0, 2))
    batch, _ = fx.informed(recipe)
    with pytest.raises(ValueError, match="ref_logps"):
        recipe.loss(fx.POLICY, dataclasses.replace(batch, ref_logps=None))
