"""What the expected gradients of the policy-gradient recipes are the gradients of, without sampling error."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumeration import FIXED, RAGGED, cosine, expected_gradient, random, reward_gradient

from posttrain_jax.losses import divergence, generator, ratio, trust
from posttrain_jax.recipes.policy.asym_re import AsymRE
from posttrain_jax.recipes.policy.gpg import GPG
from posttrain_jax.recipes.policy.mis import MIS
from posttrain_jax.recipes.policy.opo import OPO
from posttrain_jax.recipes.policy.pass_at_k import PassAtK
from posttrain_jax.recipes.policy.pkpo import PKPO
from posttrain_jax.recipes.policy.rec import REC
from posttrain_jax.recipes.policy.reinforce import REINFORCE
from posttrain_jax.recipes.policy.reinforce_pp_baseline import REINFORCEPlusPlusBaseline
from posttrain_jax.recipes.policy.rloo import RLOO
from posttrain_jax.recipes.policy.tis import TIS
from posttrain_jax.recipes.policy.topr import TOPR

LANGUAGES = pytest.mark.parametrize("language", [FIXED, RAGGED], ids=["fixed", "ragged"])


@LANGUAGES
@pytest.mark.parametrize("recipe", [REINFORCE(), REINFORCE(baseline=0.7), TOPR(baseline=0.7)])
def test_reinforce_and_on_policy_topr_follow_the_expected_reward(language, recipe):
    table, _, rewards = random(language, 1)
    got = expected_gradient(recipe, language, table, rewards, group_size=1)
    np.testing.assert_allclose(got, -reward_gradient(language, table, rewards), atol=2e-6)


@LANGUAGES
@pytest.mark.parametrize(
    ("recipe", "k", "group_size"), [(PassAtK(), 2, 2), (PassAtK(), 3, 3), (PKPO(k=2), 2, 3)], ids=["2", "3", "2of3"]
)
def test_pass_at_k_and_pkpo_follow_the_expected_best(language, recipe, k, group_size):
    table, _, rewards = random(language, 2)

    def best(table):
        groups = jnp.array(list(itertools.product(range(len(rewards)), repeat=k)))
        return jnp.sum(jnp.exp(language.log_probs(table)[groups].sum(-1)) * rewards[groups].max(-1))

    got = expected_gradient(recipe, language, table, rewards, group_size=group_size)
    np.testing.assert_allclose(got, -jax.grad(best)(table) / group_size, atol=2e-6)


def test_opo_follows_the_expected_reward_for_completions_of_one_length():
    table, _, rewards = random(FIXED, 3)
    got = expected_gradient(OPO(), FIXED, table, rewards)
    np.testing.assert_allclose(got, -reward_gradient(FIXED, table, rewards) / 2, atol=2e-6)
    table, _, rewards = random(RAGGED, 3)
    bent = cosine(-expected_gradient(OPO(), RAGGED, table, rewards), reward_gradient(RAGGED, table, rewards))
    assert 0.9 < bent < 0.9999


@pytest.mark.parametrize("recipe", [GPG(), REC(), REC(trust.TwoSided(), power=1.0), AsymRE(shift=-0.5)])
def test_centred_token_means_follow_the_expected_reward_for_completions_of_one_length(recipe):
    table, _, rewards = random(FIXED, 4)
    got = expected_gradient(recipe, FIXED, table, rewards)
    np.testing.assert_allclose(got, -reward_gradient(FIXED, table, rewards) / 2 / FIXED.length, atol=2e-6)


def test_the_penalty_of_reinforce_pp_baseline_is_the_reverse_divergence_of_each_token():
    table, ref_table, _ = random(FIXED, 6)
    got = expected_gradient(REINFORCEPlusPlusBaseline(kl_coef=1.0), FIXED, table, jnp.zeros(9), ref_table=ref_table)
    np.testing.assert_allclose(got, jax.grad(token_kl)(table, table, ref_table) / FIXED.length, atol=2e-6)


def token_kl(table, sampling_table, ref_table):
    """Sum over tokens of KL(policy || ref), prefixes drawn from another policy and held still."""
    p, q = jax.nn.log_softmax(table), jax.nn.log_softmax(ref_table)
    visits = jnp.concatenate([jnp.ones(1), jax.nn.softmax(sampling_table[0])])
    return jnp.sum(visits * jnp.sum(jnp.exp(p) * (p - q), axis=-1))


@pytest.mark.parametrize("old_is", ["policy", "another"])
def test_k3_times_the_ratio_has_value_and_gradient_of_the_divergence(old_is):
    table, ref_table, _ = random(FIXED, 7)
    old_table = {"policy": table, "another": random(FIXED, 8)[0]}[old_is]
    everything = jnp.arange(9)[None]
    old, ref = (FIXED.stats(t, everything).logps for t in (old_table, ref_table))
    probs = jnp.exp(FIXED.log_probs(old_table))[None, :, None]

    def estimate(table):
        logps = FIXED.stats(table, everything).logps
        return jnp.sum(probs * divergence.sampled_loss(generator.ReverseKL(), logps, ref, ratio.token(logps, old)))

    value, gradient = jax.value_and_grad(estimate)(table)
    exact, exact_gradient = jax.value_and_grad(token_kl)(table, old_table, ref_table)
    np.testing.assert_allclose(value, exact, rtol=1e-5)
    np.testing.assert_allclose(gradient, exact_gradient, atol=2e-6)


WHOLE = [
    TIS(REINFORCE(), 1e9, ratio.sequence_sum),
    TIS(RLOO(kl_coef=0.0), 1e9, ratio.sequence_sum),
    MIS(REINFORCE(), 0.0, 1e9, ratio.sequence_sum),
]


@LANGUAGES
@pytest.mark.parametrize("recipe", WHOLE, ids=["tis_reinforce", "tis_rloo", "mis_reinforce"])
def test_whole_weights_of_completions_undo_any_sampler(language, recipe):
    table, sampler_table, rewards = random(language, 9)
    got = expected_gradient(recipe, language, table, rewards, sampler_table=sampler_table)
    np.testing.assert_allclose(got, -reward_gradient(language, table, rewards), atol=2e-6)


def test_weights_of_tokens_leave_a_bias_and_none_leave_a_larger_one():
    table, other, rewards = random(FIXED, 9)
    near = table + 0.3 * other
    exact = -reward_gradient(FIXED, table, rewards)
    errors = [
        jnp.linalg.norm(expected_gradient(recipe, FIXED, table, rewards, sampler_table=near, group_size=1) - exact)
        for recipe in (TIS(REINFORCE(), 1e9), REINFORCE())
    ]
    assert 1e-3 < errors[0] < errors[1]
