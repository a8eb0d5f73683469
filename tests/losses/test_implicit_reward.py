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
