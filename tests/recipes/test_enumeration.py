"""What each recipe's expected gradient is the gradient of, without sampling error."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumeration import FIXED, RAGGED, cosine, expected_gradient, expected_reward, random, reward_gradient

from posttrain_jax.losses import divergence
from posttrain_jax.recipes.likelihood.sft import SFT
from posttrain_jax.recipes.policy.dapo import DAPO
from posttrain_jax.recipes.policy.dr_grpo import DrGRPO
from posttrain_jax.recipes.policy.grpo import GRPO
from posttrain_jax.recipes.policy.rloo import RLOO
from posttrain_jax.recipes.preference.dpo import DPO

LANGUAGES = pytest.mark.parametrize("language", [FIXED, RAGGED], ids=["fixed", "ragged"])


def kl(language, table, other):
    log_probs = language.log_probs(table)
    return jnp.sum(jnp.exp(log_probs) * (log_probs - language.log_probs(other)))


@LANGUAGES
def test_the_oracle_lists_everything_once(language):
    table, *_ = random(language, 0)
    assert len(language.completions) == {FIXED: 9, RAGGED: 7}[language]
    np.testing.assert_allclose(jnp.exp(language.log_probs(table)).sum(), 1, rtol=1e-6)
    if language.stop is None:
        recovered = language.table(language.log_probs(table))
        np.testing.assert_allclose(jax.nn.log_softmax(recovered), jax.nn.log_softmax(table), atol=1e-6)


@LANGUAGES
@pytest.mark.parametrize("group_size", [2, 3])
def test_rloo_follows_the_expected_reward(language, group_size):
    table, _, rewards = random(language, 1)
    got = expected_gradient(RLOO(kl_coef=0.0), language, table, rewards, group_size=group_size)
    np.testing.assert_allclose(got, -reward_gradient(language, table, rewards), atol=2e-6)


@LANGUAGES
def test_rloo_follows_the_reward_less_the_divergence(language):
    table, ref_table, rewards = random(language, 2)

    def objective(table):
        return expected_reward(language, table, rewards) - 0.3 * kl(language, table, ref_table)

    got = expected_gradient(RLOO(kl_coef=0.3), language, table, rewards, ref_table=ref_table)
    np.testing.assert_allclose(got, -jax.grad(objective)(table), atol=2e-6)


@LANGUAGES
@pytest.mark.parametrize("group_size", [2, 3])
def test_dr_grpo_follows_the_expected_reward_scaled(language, group_size):
    table, _, rewards = random(language, 3)
    got = expected_gradient(DrGRPO(max_length=5), language, table, rewards, group_size=group_size)
    exact = reward_gradient(language, table, rewards)
    np.testing.assert_allclose(got, -(1 - 1 / group_size) / 5 * exact, atol=2e-6)


def win_rate_gradient(language, table, rewards):
    """Gradient of E[sign(r(y) - r(y'))], y' drawn from the same policy but held still."""
    others = jnp.exp(jax.lax.stop_gradient(language.log_probs(table)))
    wins = jnp.sign(rewards[:, None] - rewards[None, :]) @ others
    return reward_gradient(language, table, wins)


@pytest.mark.parametrize("recipe", [GRPO(kl_coef=0.0, ddof=0, eps=0.0), DAPO(ddof=0, eps=0.0)], ids=["grpo", "dapo"])
def test_standardised_pairs_follow_the_win_rate_and_not_the_reward(recipe):
    table, _, rewards = random(FIXED, 4)
    got = expected_gradient(recipe, FIXED, table, rewards)
    np.testing.assert_allclose(got, -win_rate_gradient(FIXED, table, rewards) / FIXED.length, atol=2e-6)
    assert cosine(-got, reward_gradient(FIXED, table, rewards)) < 0.99


def test_pairs_with_two_kinds_of_reward_follow_the_reward():
    table, _, rewards = random(FIXED, 5)
    rewards = (rewards > 0).astype(jnp.float32)
    got = expected_gradient(GRPO(kl_coef=0.0, ddof=0, eps=0.0), FIXED, table, rewards)
    np.testing.assert_allclose(got, -reward_gradient(FIXED, table, rewards) / 2, atol=2e-6)


@pytest.mark.parametrize("recipe", [GRPO(kl_coef=0.0, ddof=0, eps=0.0), DAPO(ddof=0, eps=0.0)], ids=["grpo", "dapo"])
def test_ragged_lengths_bend_the_standardised_gradient(recipe):
    table, _, rewards = random(RAGGED, 5)
    rewards = (rewards > 0).astype(jnp.float32)
    got = expected_gradient(recipe, RAGGED, table, rewards)
    assert cosine(-got, reward_gradient(RAGGED, table, rewards)) < 0.999


@pytest.mark.parametrize(("penalty", "forward"), [(divergence.k3_loss, True), (divergence.k2_loss, False)])
def test_the_penalty_of_grpo_is_the_forward_divergence_of_each_token_or_with_k2_the_reverse(penalty, forward):
    table, ref_table, _ = random(FIXED, 6)
    got = expected_gradient(GRPO(kl_coef=1.0, penalty=penalty), FIXED, table, jnp.zeros(9), ref_table=ref_table)
    np.testing.assert_allclose(got, jax.grad(token_kl)(table, table, ref_table, forward=forward) / 2, atol=2e-6)


def token_kl(table, sampling_table, ref_table, *, forward):
    """Sum over tokens of KL(policy || ref), or with `forward` of KL(ref || policy), prefixes drawn and held still."""
    p, q = jax.nn.log_softmax(table), jax.nn.log_softmax(ref_table)
    if forward:
        p, q = q, p
    first = jax.nn.softmax(jax.lax.stop_gradient(sampling_table)[0])
    visits = jnp.concatenate([jnp.ones(1), first])  # of each prefix, in a language of length 2 without stop
    return jnp.sum(visits * jnp.sum(jnp.exp(p) * (p - q), axis=-1))


def expected_estimator_gradient(estimator, table, ref_table):
    """Of an estimator summed over tokens, all completions of FIXED being weighted by their probability."""
    everything = jnp.arange(9)[None]
    probs = jnp.exp(jax.lax.stop_gradient(FIXED.log_probs(table)))
    ref = FIXED.stats(ref_table, everything).logps
    return jax.grad(lambda t: jnp.sum(probs[None, :, None] * estimator(FIXED.stats(t, everything).logps, ref)))(table)


def test_the_gradients_of_the_sampled_divergences():
    table, ref_table, _ = random(FIXED, 7)
    reverse = jax.grad(token_kl)(table, table, ref_table, forward=False)
    forward = jax.grad(token_kl)(table, table, ref_table, forward=True)
    k1 = expected_estimator_gradient(lambda logps, ref: logps - ref, table, ref_table)
    k2 = expected_estimator_gradient(divergence.k2_loss, table, ref_table)
    k3 = expected_estimator_gradient(divergence.k3_loss, table, ref_table)
    np.testing.assert_allclose(k1, 0, atol=2e-6)
    np.testing.assert_allclose(k2, reverse, atol=2e-6)
    np.testing.assert_allclose(k3, forward, atol=2e-6)
    assert cosine(k3, reverse) < 0.95


def test_k3_on_three_tokens_has_the_documented_gradient():
    """With policy (.4, .4, .2) and reference (.5, .3, .2): policy - reference, where KL(policy || ref) has another."""
    policy, ref = jnp.array([0.4, 0.4, 0.2]), jnp.array([0.5, 0.3, 0.2])

    def expected(estimator):
        weighted = lambda logits: jnp.sum(policy * estimator(jax.nn.log_softmax(logits), jnp.log(ref)))  # noqa: E731
        return jax.grad(weighted)(jnp.log(policy))

    np.testing.assert_allclose(expected(divergence.k3_loss), [-0.1, 0.1, 0.0], atol=1e-6)
    np.testing.assert_allclose(expected(divergence.k2_loss), [-0.099584, 0.104747, -0.005163], atol=1e-6)


@LANGUAGES
def test_sft_follows_the_divergence_of_the_data_from_the_policy(language):
    table, data_table, _ = random(language, 8)
    data = jnp.exp(language.log_probs(data_table))
    everything = jnp.arange(len(language.completions))[None]
    groups = language.groups(everything)
    # The mean over an endless sample: a completion as often as the data has it, per token of the data.
    tokens = jnp.sum(data * groups.completion_lengths[0].astype(jnp.float32))
    weights = jnp.where(groups.completion_mask, data[None, :, None] / tokens, 0)
    batch = dataclasses.replace(SFT().credit(groups), token_weights=weights)
    got = jax.grad(lambda t: SFT().loss(language.stats(t, everything), batch)[0])(table)
    np.testing.assert_allclose(got, jax.grad(kl, 2)(language, data_table, table) / tokens, atol=2e-6)


@pytest.mark.parametrize("label_noise", [0.0, 0.2])
def test_dpo_is_at_rest_where_the_policy_is_the_tilted_reference(label_noise):
    _, ref_table, rewards = random(FIXED, 9)
    rewards = 0.2 * rewards
    recipe = DPO(beta=0.5, label_noise=label_noise)
    best = FIXED.table(FIXED.log_probs(ref_table) + rewards / recipe.beta)
    pairs = jnp.array([(i, j) for i in range(9) for j in range(9) if i != j])
    wins = jax.nn.sigmoid(rewards[pairs[:, 0]] - rewards[pairs[:, 1]])
    # Bradley-Terry, and with noise labels so much more certain that flipping some of them gives Bradley-Terry.
    labels = (wins - label_noise) / (1 - 2 * label_noise)
    assert labels.min() > 0
    batch = recipe.credit(FIXED.groups(pairs), FIXED.stats(ref_table, pairs).logps)
    np.testing.assert_allclose(batch.pair_weights, 1 / 72, rtol=1e-6)
    batch = dataclasses.replace(batch, pair_weights=labels * batch.pair_weights)

    @jax.jit
    def gradient(table):
        return jax.grad(lambda t: recipe.loss(FIXED.stats(t, pairs), batch)[0])(table)

    np.testing.assert_allclose(gradient(best), 0, atol=1e-6)
    assert jnp.abs(gradient(ref_table)).max() > 1e-3
