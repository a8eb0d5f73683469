import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.grpo_care import GRPOCARE
from posttrain_jax.recipes.policy.reinforce import REINFORCE

WORDS = jnp.asarray([[[7, 5, 8], [7, 8, 0], [7, 5, 8], [5, 0, 0]]])
ROLLOUT = dataclasses.replace(fx.ROLLOUT, groups=dataclasses.replace(fx.ROLLOUT.groups, completions=WORDS))
ACC = jnp.asarray([[1.0, 1.0, 1.0, 1.0]])


def earned(recipe, ref):
    ref_logps = jnp.zeros((1, 4, 3)).at[0, :, 1].set(jnp.log(jnp.asarray(ref)))
    batch, _ = fx.informed(recipe, ACC, rollout=ROLLOUT, ref_logps=ref_logps, columns={"acc": ACC})
    return np.asarray(batch.advantages)[0, :, 0]


def test_right_answers_that_the_reference_would_give_are_paid_more():
    """The second has nothing between its tags, the fourth no tags; of the others one lies below their mean."""
    recipe = GRPOCARE("acc", (7,), (8,), recipe=REINFORCE())
    np.testing.assert_allclose(earned(recipe, [0.9, 1, 0.5, 1]), [1.5, 1, 1, 1])
    np.testing.assert_allclose(earned(recipe, [0.9, 1, 0.885, 1]), [1.5, 1, 1.5, 1])


def test_without_a_bonus_it_is_the_held_recipe():
    recipe = GRPOCARE("acc", (7,), (8,), coef=0.0, recipe=GRPO(kl_coef=0.0))
    batch, _ = fx.informed(recipe, columns={"acc": ACC})
    np.testing.assert_array_equal(batch.advantages, GRPO(kl_coef=0.0).credit(fx.ROLLOUT, fx.REWARDS).advantages)
    assert batch.ref_logps is None


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="GRPOCARE reads 'acc'; the rewards are right"):
        fx.informed(GRPOCARE("acc", (7,), (8,)), columns={"right": ACC})
