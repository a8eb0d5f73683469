"""MaxMin around a recipe: what it learns from, and what it is with one reward."""

import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx

from posttrain_jax.losses import maxmin
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.maxmin import MaxMin

PLAIN = GRPO(kl_coef=0.0)
COLUMNS = {"few": jnp.array([[-1.0, 0.0, 1.0, -1.0]]), "many": jnp.array([[3.0, 1.0, 0.0, 2.0]])}
NAMES = ("few", "many")


def advantages(rewards):
    return PLAIN.credit(fx.ROLLOUT, rewards).advantages


def test_the_worst_off_are_learned_from():
    batch, _ = fx.informed(MaxMin(NAMES, recipe=PLAIN), columns=COLUMNS)
    np.testing.assert_allclose(batch.advantages, advantages(COLUMNS["few"]), rtol=1e-6)
    _, metrics = MaxMin(NAMES, recipe=PLAIN).loss(fx.POLICY, batch)
    assert (metrics["weight/few"], metrics["weight/many"]) == (1, 0)
    batch, _ = fx.informed(MaxMin(NAMES, maxmin.WorstOfEach(), PLAIN), columns=COLUMNS)
    np.testing.assert_allclose(batch.advantages, advantages(jnp.array([[-1.0, 0.0, 0.0, -1.0]])), rtol=1e-6)


def test_weights_are_remembered():
    """Means -.25 and 1.5 at rate 1: the odds are multiplied by exp(1.75) every step."""
    recipe = MaxMin(NAMES, maxmin.Weighted(1.0), PLAIN)
    _, memory = fx.informed(recipe, columns=COLUMNS)
    np.testing.assert_allclose(memory[0] - memory[1], 1.75, rtol=1e-5)
    batch, memory = fx.informed(recipe, columns=COLUMNS, memory=memory)
    np.testing.assert_allclose(memory[0] - memory[1], 3.5, rtol=1e-5)
    share = 1 / (1 + np.exp(-3.5))
    mixed = share * COLUMNS["few"] + (1 - share) * COLUMNS["many"]
    np.testing.assert_allclose(batch.advantages, advantages(mixed), atol=1e-5)


@pytest.mark.parametrize("rule", [maxmin.WorstOfBatch(), maxmin.WorstOfEach(), maxmin.Weighted(1.0)], ids=repr)
def test_of_one_reward_it_is_the_recipe(rule):
    batch, _ = fx.informed(MaxMin(("few",), rule, PLAIN), columns=COLUMNS)
    np.testing.assert_allclose(batch.advantages, advantages(COLUMNS["few"]), rtol=1e-6)


def test_no_objective_is_refused():
    with pytest.raises(ValueError, match="objectives are empty"):
        MaxMin(())
