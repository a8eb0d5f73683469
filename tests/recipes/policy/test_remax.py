import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worked_numbers as fx
from enumeration import FIXED, RAGGED, expected_gradient, expected_reward, random

from posttrain_jax.recipes.policy.reinforce import REINFORCE
from posttrain_jax.recipes.policy.remax import ReMax


def with_greedy(rollout, rewards, reward):
    """With a greedy completion of one token behind the others, which got `reward`."""
    last = lambda x, value: jnp.concatenate([x, jnp.full_like(x[:, :1], value)], axis=1)  # noqa: E731
    groups = jax.tree.map(lambda x: last(x, 0) if x.ndim == 3 else x, rollout.groups)
    mask = groups.completion_mask.at[:, -1, 0].set(True)
    lengths = last(rollout.groups.completion_lengths, 1)
    groups = dataclasses.replace(groups, completion_mask=mask, completion_lengths=lengths)
    rollout = dataclasses.replace(
        rollout,
        groups=groups,
        sampler=jax.tree.map(lambda x: last(x, 0), rollout.sampler),
        truncated=last(rollout.truncated, False),
        greedy=last(rollout.truncated & False, True),
    )
    return rollout, last(rewards, reward)


def cut(batch):
    """Without the greedy completion, which must not count."""
    np.testing.assert_array_equal(batch.token_weights[:, -1], 0)
    return jax.tree.map(lambda x: x[:, :-1], batch)


def credit(recipe, ref_logps=None, reward=0.5):
    """Of FX and a greedy completion."""
    rollout, rewards = with_greedy(fx.ROLLOUT, fx.REWARDS, reward)
    ref_logps = None if ref_logps is None else jnp.concatenate([ref_logps, jnp.zeros((1, 1, 3))], axis=1)
    return cut(recipe.credit(rollout, rewards, ref_logps))


@dataclasses.dataclass(frozen=True)
class Greedy:
    """ReMax, told the reward of the greedy completion of a language."""

    recipe: ReMax
    reward: float

    def credit(self, rollout, rewards, ref_logps):
        ref_logps = jnp.concatenate([ref_logps, jnp.zeros_like(ref_logps[:, :1])], axis=1)
        batch = self.recipe.credit(*with_greedy(rollout, rewards, self.reward), ref_logps)
        return jax.tree.map(lambda x: x[:, :-1], batch)

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
        credit(ReMax(kl_coef=0.0)),
        REINFORCE(baseline=0.5).credit(fx.ROLLOUT, fx.REWARDS),
    )
    got, expected = (jax.value_and_grad(lambda p, b=b: REINFORCE().loss(p, b)[0])(fx.POLICY) for b in batches)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), got, expected)


def test_penalties_count_from_their_token_on():
    """FX: old less ref is -0.05, 0, -0.1 in the first completion, so the returns are 0.5 plus 0.015, 0.01, 0.01."""
    batch = credit(ReMax(kl_coef=0.1), fx.REF)
    np.testing.assert_allclose(batch.advantages[0, 0], [0.515, 0.51, 0.51], rtol=1e-6)
    np.testing.assert_allclose(batch.advantages[0, 3, 0], 0.53, rtol=1e-6)


def test_prompts_whose_greedy_completion_failed_do_not_count():
    batch = credit(ReMax(kl_coef=0.0), reward=jnp.nan)
    np.testing.assert_array_equal(batch.token_weights, 0)
    assert ReMax(kl_coef=0.0).loss(fx.POLICY, batch)[0] == 0


def test_a_rollout_without_greedy_completions_is_refused():
    with pytest.raises(ValueError, match="the rollout names none: give `greedy`"):
        ReMax().credit(fx.ROLLOUT, fx.REWARDS, fx.REF)
    assert ReMax().arrangement.likeliest(3).tolist() == [False, False, True]


def test_a_second_update_and_a_negative_weight_are_refused():
    batch = credit(ReMax(kl_coef=0.0))
    with pytest.raises(ValueError, match="one update per rollout"):
        ReMax(kl_coef=0.0).loss(fx.POLICY, dataclasses.replace(batch, old_logps=fx.OLD))
    with pytest.raises(ValueError, match="kl_coef="):
        ReMax(kl_coef=-0.1)
