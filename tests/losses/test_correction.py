import jax
import jax.numpy as jnp
import numpy as np
import worked_numbers as fx

from posttrain_jax.losses import correction, ratio

SAMPLER = jnp.array([[[-1.2, -0.5, -2.6], [-0.7, -1.0, 0], [-0.3, -1.9, -1.5], [-2.0, 0, 0]]])
MISMATCH = fx.OLD - SAMPLER
SEQUENCES = ratio.sequence_sum(MISMATCH, fx.MASK)


def test_truncated_weights_of_tokens_and_sequences():
    got = correction.truncated(MISMATCH, cap=2.0)[0]
    np.testing.assert_allclose(
        jnp.where(fx.MASK[0], got, 0),
        [[1.221403, 1, 1.822119], [1, 0.818731, 0], [1, 2, 1], [0.606531, 0, 0]],
        atol=2e-6,
    )
    np.testing.assert_allclose(
        correction.truncated(SEQUENCES, cap=1e9)[0, :, 0], [2.225541, 0.818731, 2.718282, 0.606531], atol=2e-6
    )


def test_masked_weights_of_sequences():
    got = correction.within(SEQUENCES, low=0.5, high=2.0)[0, :, 0]
    np.testing.assert_allclose(got, [0, 0.818731, 0, 0.606531], atol=2e-6)


def test_agreement_corrects_nothing():
    nothing = jnp.zeros_like(MISMATCH)
    np.testing.assert_array_equal(correction.truncated(nothing, cap=2.0), 1)
    np.testing.assert_array_equal(correction.within(nothing, low=0.5, high=2.0), 1)
    kept = correction.unless_stale(fx.OLD, fx.OLD, -jnp.ones_like(MISMATCH), fx.MASK, limit=0.0)
    np.testing.assert_array_equal(kept, 1)


def test_only_negative_completions_that_the_policy_has_left_are_stale():
    drift = jnp.array([[0.6, 0.6, 0.4, -0.6]])[:, :, None]
    advantages = jnp.where(fx.MASK, jnp.array([[-1.0, 1.0, -1.0, -1.0]])[:, :, None], 0)
    policy = jnp.where(fx.MASK, SAMPLER - drift, 0)
    got = correction.unless_stale(policy, SAMPLER, advantages, fx.MASK, limit=0.5)
    np.testing.assert_array_equal(got[0, :, 0], [0, 1, 1, 1])


def test_weights_have_no_gradient_and_stay_finite():
    far = jnp.array([[[50.0, -50.0, 1e4]]])
    for function in (
        lambda x: correction.truncated(x, cap=2.0),
        lambda x: correction.within(x, low=0.5, high=2.0),
        lambda x: correction.unless_stale(x, x + 1, -jnp.ones_like(x), x > -1e9, limit=0.5),
    ):
        value, gradient = jax.value_and_grad(lambda x, f=function: f(x).sum())(far)
        assert np.isfinite(value)
        np.testing.assert_array_equal(gradient, 0)
