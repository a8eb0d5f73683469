import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx
from enumeration import FIXED, RAGGED, expected_gradient, expected_reward, random

from posttrain_jax.recipes.policy.reinforce import REINFORCE
from posttrain_jax.recipes.policy.remax import ReMax

BASELINE = jnp.array([0.5])


@dataclasses.dataclass(frozen=True)
class Greedy:
    """ReMax, told the reward of the greedy completion of a language."""

    recipe: ReMax
    reward: float

    def credit(self, rollout, rewards, ref_logps):
        return self.recipe.credit(rollout, rewards, ref_logps, baselines=jnp.full(rewards.shape[0], self.reward))

    def loss(self, policy, batch):
        return self.recipe.loss(policy, batch)


@pytest.mark.parametrize("language", [FIXED, RAGGED], ids=["fixed", "ragged"])
def test_it_follows_the_reward_less_the_divergence(language):
    table, ref_table, rewards = random(language, 2)
    greedy = rewards[jnp.argmax(language.log_probs(table))]

    def objective(table):
        logps, ref = language.log_probs(table), language.log_probs(ref_table)
        return expected_reward(language, table, rewards) - 0.3 * jnp.sum(jnp.exp(logps) * (logps - ref))

    recipe = Greedy(ReMax(kl_coef=0.3), float(greedy))
    got = expected_gradient(recipe, language, table, rewards, group_size=1, ref_table=ref_table)
    np.testing.assert_allclose(got, -jax.grad(objective)(table), atol=2e-6)


def test_without_a_reference_it_is_reinforce_around_the_greedy_reward():
    batches = (
        ReMax(kl_coef=0.0).credit(fx.ROLLOUT, fx.REWARDS, baselines=BASELINE),
        REINFORCE(baseline=0.5).credit(fx.ROLLOUT, fx.REWARDS),
    )
    got, expected = (jax.value_and_grad(lambda p, b=b: REINFORCE().loss(p, b)[0])(fx.POLICY) for b in batches)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), got, expected)


def test_penalties_count_from_their_token_on():
    """FX: old less ref is -0.05, 0, -0.1 in the first completion, so the returns are 0.5 plus 0.015, 0.01, 0.01."""
    batch = ReMax(kl_coef=0.1).credit(fx.ROLLOUT, fx.REWARDS, fx.REF, baselines=BASELINE)
    np.testing.assert_allclose(batch.advantages[0, 0], [0.515, 0.51, 0.51], rtol=1e-6)
    np.testing.assert_allclose(batch.advantages[0, 3, 0], 0.53, rtol=1e-6)


def test_prompts_whose_greedy_completion_failed_do_not_count():
    batch = ReMax(kl_coef=0.0).credit(fx.ROLLOUT, fx.REWARDS, baselines=jnp.array([jnp.nan]))
    np.testing.assert_array_equal(batch.token_weights, 0)
    assert ReMax(kl_coef=0.0).loss(fx.POLICY, batch)[0] == 0


def test_a_second_update_and_a_negative_weight_are_refused():
    batch = ReMax(kl_coef=0.0).credit(fx.ROLLOUT, fx.REWARDS, baselines=BASELINE)
    with pytest.raises(ValueError, match="one update per rollout"):
        ReMax(kl_coef=0.0).loss(fx.POLICY, dataclasses.replace(batch, old_logps=fx.OLD))
    with pytest.raises(ValueError, match="kl_coef="):
        ReMax(kl_coef=-0.1)
