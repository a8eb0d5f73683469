import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import target


def test_factors_by_hand():
    np.testing.assert_allclose(target.Tilted(0.5)(jnp.array([1.0, -2.0])), [2.0, -4.0])
    np.testing.assert_allclose(target.Satisfied(floor=-20.0)(jnp.array([1.0, 0.0])), [0.0, -20.0])
    with pytest.raises(ValueError, match="beta=0"):
        target.Tilted(0.0)


def test_the_normalizer_is_the_mean_weight_of_a_group_over_its_rows():
    weights = jnp.log(jnp.array([[1.0, 3.0], [5.0, 7.0], [2.0, 1e9]]))
    counted = jnp.array([[True, True], [True, True], [True, False]])
    got = target.log_normalizer(weights, counted, jnp.array([4, 4, 9]))
    np.testing.assert_allclose(got, np.log([4.0, 4.0, 2.0]), rtol=1e-6)


def test_the_normalizer_of_extremes_and_of_nothing():
    weights = jnp.array([[200.0, 200.0], [-200.0, -200.0], [1.0, 2.0]])
    counted = jnp.array([[True, True], [True, True], [False, False]])
    np.testing.assert_allclose(target.log_normalizer(weights, counted, jnp.arange(3)), [200.0, -200.0, 0.0], rtol=1e-6)


def test_fitted_coefficients_give_the_wanted_moments():
    """Two conditions held by 20 % and 50 % of samples are to be held by 50 % and 50 %."""
    features = jnp.asarray(np.random.default_rng(0).random((4000, 2)) < [0.2, 0.5], jnp.float32)
    coefs = target.fit(features, jnp.array([0.5, 0.5]), jnp.zeros(4000))
    probs = jax.nn.softmax(features @ coefs)
    np.testing.assert_allclose(probs @ features, [0.5, 0.5], atol=1e-4)
    np.testing.assert_allclose(coefs[0], np.log(4), atol=0.1)  # the odds rise from 1/4 to 1


def test_fitting_undoes_another_sampler():
    """Samples of a proposal, weighed back to the reference, are moved from there."""
    phi = jnp.array([[0.0], [1.0]])
    coefs = target.fit(phi, jnp.array([0.8]), jnp.log(jnp.array([0.6, 0.4]) / 0.5))
    np.testing.assert_allclose(coefs, np.log([4 / (0.4 / 0.6)]), rtol=1e-4)
