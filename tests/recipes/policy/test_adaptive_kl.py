import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx
from enumeration import FIXED, expected_gradient, expected_reward, random

from posttrain_jax import types
from posttrain_jax.losses import controller
from posttrain_jax.recipes.policy.adaptive_kl import AdaptiveKL
from posttrain_jax.recipes.policy.dcpo import DCPO
from posttrain_jax.recipes.policy.rloo import RLOO

RULE = controller.Proportional(target=0.1)
RECIPE = AdaptiveKL(RLOO(kl_coef=0.0), start=0.3, control=RULE)
SUMS = np.array([-0.15, -0.1, 0.1, -0.3])
"""FX: old less ref, summed over each completion."""


def test_rewards_are_penalised_and_the_coefficient_moves():
    batch, (coef, inner) = fx.informed(RECIPE)
    plain = RLOO(kl_coef=0.0).credit(fx.ROLLOUT, fx.REWARDS - 0.3 * jnp.array([SUMS], jnp.float32))
    np.testing.assert_allclose(batch.advantages, plain.advantages, atol=1e-6)
    np.testing.assert_allclose(batch.extra["penalised_kl"][0], SUMS, atol=1e-6)
    np.testing.assert_allclose(batch.extra["kl_coef"], [0.3], rtol=1e-6)
    np.testing.assert_allclose(coef, 0.3 * 0.98, rtol=1e-6)  # the mean is far below the target
    assert inner == ()
    _, (again, _) = fx.informed(RECIPE, memory=(coef, ()), ref_logps=fx.OLD - 1)
    np.testing.assert_allclose(again, 0.3 * 0.98 * 1.02, rtol=1e-6)


def test_what_was_not_scored_does_not_move_it():
    rewards = jnp.array([[1.0, 0.0, 1.0, jnp.nan]])
    exact = AdaptiveKL(RLOO(kl_coef=0.0), 0.3, controller.Proportional(target=1.0, limit=5.0))
    _, (coef, _) = fx.informed(exact, rewards)
    np.testing.assert_allclose(coef, 0.3 * (1 + 0.1 * (-0.15 / 3 - 1)), rtol=1e-6)
    _, (coef, _) = fx.informed(exact, jnp.full((1, 4), jnp.nan))
    np.testing.assert_allclose(coef, 0.3, rtol=1e-6)


@dataclasses.dataclass(frozen=True)
class Told:
    """The recipe, as the oracle asks."""

    recipe: AdaptiveKL

    def credit(self, rollout, rewards, ref_logps):
        ref = types.TokenStats(ref_logps, jnp.zeros_like(ref_logps))
        lookup = types.Lookup(lambda *_: ref, lambda *_: ref, jax.random.key(0))
        return self.recipe.credit(rollout, rewards, {}, lookup, self.recipe.init_memory())[0]

    def loss(self, policy, batch):
        return self.recipe.loss(policy, batch)


def test_it_follows_the_reward_less_the_divergence():
    table, ref_table, rewards = random(FIXED, 2)

    def objective(table):
        logps, ref = FIXED.log_probs(table), FIXED.log_probs(ref_table)
        return expected_reward(FIXED, table, rewards) - 0.3 * jnp.sum(jnp.exp(logps) * (logps - ref))

    got = expected_gradient(Told(RECIPE), FIXED, table, rewards, ref_table=ref_table)
    np.testing.assert_allclose(got, -jax.grad(objective)(table), atol=2e-6)


def test_a_recipe_that_remembers_is_held_too():
    recipe = AdaptiveKL(DCPO(prompts=8), 0.1, RULE)
    assert recipe.needs_ref
    _, (_, moments) = fx.informed(recipe)
    np.testing.assert_array_equal(moments.count[fx.GROUP_IDS], 1)


def test_a_coefficient_that_could_not_move_is_refused():
    with pytest.raises(ValueError, match="start="):
        AdaptiveKL(RLOO(), 0.0, RULE)
