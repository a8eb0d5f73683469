import jax
import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax.losses import ratio


def test_token_is_policy_less_old_and_only_the_policy_is_differentiated():
    np.testing.assert_allclose(ratio.token(fx.LOGPS, fx.OLD), fx.LOG_RATIO, atol=1e-6)
    by_policy, by_old = jax.grad(lambda a, b: ratio.token(a, b).sum(), argnums=(0, 1))(fx.LOGPS, fx.OLD)
    np.testing.assert_array_equal(by_policy, 1)
    np.testing.assert_array_equal(by_old, 0)


def test_no_old_means_on_policy():
    value, gradient = jax.value_and_grad(lambda x: ratio.token(x, None).sum())(fx.LOGPS)
    assert value == 0
    np.testing.assert_array_equal(gradient, 1)


def test_sequence_mean_gives_the_ratios_of_gspo():
    got = ratio.exp(ratio.sequence_mean(fx.LOG_RATIO, fx.MASK))[0, :, 0]
    np.testing.assert_allclose(got, [1.105171, 1.105171, 0.935507, 1.822119], atol=2e-6)


def test_sequence_sum_stands_on_every_counted_token():
    got = ratio.sequence_sum(fx.LOG_RATIO, fx.MASK)
    np.testing.assert_allclose(got, jnp.where(fx.MASK, jnp.array([[[0.3], [0.2], [-0.2], [0.6]]]), 0), atol=1e-6)


def test_one_token_makes_all_granularities_equal():
    log_ratios, mask = fx.LOG_RATIO[:, :, :1], fx.MASK[:, :, :1]
    np.testing.assert_array_equal(ratio.sequence_sum(log_ratios, mask), log_ratios)
    np.testing.assert_array_equal(ratio.sequence_mean(log_ratios, mask), log_ratios)


def test_empty_completions_have_ratio_one():
    nothing = jnp.zeros_like(fx.MASK)
    np.testing.assert_array_equal(ratio.sequence_sum(fx.LOG_RATIO, nothing), 0)
    np.testing.assert_array_equal(ratio.sequence_mean(fx.LOG_RATIO, nothing), 0)


def test_exp_is_exact_within_the_limit_and_flat_beyond():
    np.testing.assert_allclose(ratio.exp(jnp.array([-19.0, 0.0, 19.0])), np.exp([-19.0, 0.0, 19.0]), rtol=2e-6)
    value, gradient = jax.vmap(jax.value_and_grad(ratio.exp))(jnp.array([-1000.0, 1000.0]))
    np.testing.assert_allclose(value, np.exp([-20.0, 20.0]), rtol=2e-6)
    np.testing.assert_array_equal(gradient, 0)
