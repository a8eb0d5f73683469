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


def test_sequence_token_has_the_value_of_the_mean_and_the_gradient_of_the_token():
    got = ratio.sequence_token(fx.LOG_RATIO, fx.MASK)
    np.testing.assert_allclose(got, ratio.sequence_mean(fx.LOG_RATIO, fx.MASK), atol=1e-7)
    gradient = jax.grad(lambda x: ratio.sequence_token(x, fx.MASK)[0, 0, 1])(fx.LOG_RATIO)
    np.testing.assert_array_equal(gradient, jnp.zeros_like(gradient).at[0, 0, 1].set(1))


def test_one_sided_holds_back_in_the_direction_of_the_advantage_only():
    log_ratios = jnp.array([[[0.3, -0.7, 0.9], [0.3, -0.7, 0.9]]])
    advantages = jnp.array([[[2.0, 2.0, 2.0], [-1.0, -1.0, -1.0]]])
    got = ratio.one_sided(log_ratios, advantages, low=0.5, high=0.4)
    np.testing.assert_allclose(got, [[[0.3, -0.7, 0.4], [0.3, -0.5, 0.9]]], rtol=1e-6)


def test_geometric_means_of_held_back_ratios():
    """FX, GMPO with 0.4: holding back comes before pooling."""
    held = ratio.one_sided(fx.LOG_RATIO, fx.ADVANTAGES, low=0.4, high=0.4)
    got = ratio.exp(ratio.sequence_mean(held, fx.MASK))[0, :, 0]
    np.testing.assert_allclose(got, [1.105171, 1.105171, 0.967216, 1.491825], atol=2e-6)


def test_one_token_makes_all_granularities_equal():
    log_ratios, mask = fx.LOG_RATIO[:, :, :1], fx.MASK[:, :, :1]
    np.testing.assert_array_equal(ratio.per_token(log_ratios, mask), log_ratios)
    np.testing.assert_array_equal(ratio.sequence_token(log_ratios, mask), log_ratios)
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
