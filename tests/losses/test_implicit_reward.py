import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax.losses import implicit_reward

# sums -10 and -14 against -11 and -13 of the reference, lengths 5 and 7
MASK = jnp.arange(7)[None, None, :] < jnp.array([[[5], [7]]])
LOGPS = jnp.where(MASK, -2.0, 0.0)
REF = jnp.where(MASK, jnp.array([[[-11 / 5], [-13 / 7]]]), 0)


def test_canonical_pair():
    np.testing.assert_allclose(implicit_reward.log_ratio_sum(LOGPS, REF, MASK), [[1, -1]], atol=1e-5)
    np.testing.assert_allclose(implicit_reward.log_ratio_mean(LOGPS, REF, MASK), [[1 / 5, -1 / 7]], atol=1e-6)


def test_gradient_reaches_the_policy_on_counted_tokens_only():
    by_policy, by_ref = jax.grad(lambda a, b: implicit_reward.log_ratio_sum(a, b, MASK).sum(), (0, 1))(LOGPS, REF)
    np.testing.assert_array_equal(by_policy, MASK)
    np.testing.assert_array_equal(by_ref, 0)


def test_an_empty_completion_has_reward_zero():
    nothing = jnp.zeros_like(MASK)
    np.testing.assert_array_equal(implicit_reward.log_ratio_sum(LOGPS, REF, nothing), 0)
    np.testing.assert_array_equal(implicit_reward.log_ratio_mean(LOGPS, REF, nothing), 0)


def test_log_odds():
    np.testing.assert_allclose(implicit_reward.log_odds(jnp.float32(np.log(0.8))), np.log(4), rtol=1e-6)
    slope = jax.grad(implicit_reward.log_odds)(jnp.float32(np.log(0.8)))
    np.testing.assert_allclose(slope, 1 / (1 - 0.8), rtol=1e-5)


def test_log_odds_stay_finite_from_certain_to_impossible():
    values, slopes = jax.vmap(jax.value_and_grad(implicit_reward.log_odds))(jnp.array([0.0, -1e-7, -1e-3, -1000.0]))
    np.testing.assert_allclose(values, [np.log(1e7), np.log(1e7), np.log(1e3), -1000], rtol=1e-3)
    assert np.isfinite(slopes).all()
    assert slopes[0] == 0


def test_overhang_discount():
    weights = implicit_reward.overhang_discount(MASK, discount=0.25)
    np.testing.assert_array_equal(weights, [[[1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0.25, 0.25]]])


def test_overhang_discount_counts_tokens_and_not_places():
    gap = jnp.array([[[True, False, True, True], [True, True, False, False]]])
    weights = implicit_reward.overhang_discount(gap, discount=0.5)
    np.testing.assert_array_equal(weights, [[[1, 0, 1, 0.5], [1, 1, 0, 0]]])


def test_rewards_read_from_logits_add_up_to_the_likelihood_and_the_value_of_the_prompt():
    keys = jax.random.split(jax.random.key(0), 2)
    table = jax.random.normal(keys[0], (1, 2, 4, 5))
    mask = jnp.array([[[True, True, False, True], [True, True, False, False]]])
    normalisers = jax.nn.logsumexp(table, axis=-1)
    logits = table[..., 2]
    rewards = implicit_reward.soft_rewards(logits, normalisers, mask, beta=0.5)
    logps = jnp.sum(jnp.where(mask, logits - normalisers, 0), axis=-1)
    values = implicit_reward.soft_values(normalisers, beta=0.5)
    np.testing.assert_allclose(jnp.sum(rewards, axis=-1), 0.5 * logps + values[:, :, 0], rtol=1e-5)
    np.testing.assert_array_equal(rewards[~mask], 0)


def test_two_tokens_read_by_hand():
    logits, normalisers = jnp.array([[[1.0, 2.0]]]), jnp.array([[[1.5, 2.25]]])
    mask = jnp.ones((1, 1, 2), bool)
    rewards = implicit_reward.soft_rewards(logits, normalisers, mask, beta=2.0)
    np.testing.assert_allclose(rewards, [[[2 - 4.5, 4.0]]])
