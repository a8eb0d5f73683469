import jax
import jax.numpy as jnp
import numpy as np

from posttrain_jax import types
from posttrain_jax.losses import denoising, extrapolation
from posttrain_jax.recipes.preference.dpo import DPO

PREDICTIONS = jnp.array([[[[0.5, -0.5], [1.0, 0.0]], [[0.0, 0.0], [2.0, 0.0]]]])
TARGETS = jnp.zeros((1, 2, 2, 2))


def test_errors_are_means_over_the_image():
    np.testing.assert_allclose(denoising.squared_error(PREDICTIONS, TARGETS), [[1.5 / 4, 1.0]])
    huber = denoising.pseudo_huber_error(PREDICTIONS, TARGETS, width=1e-3)
    np.testing.assert_allclose(huber, [[0.5, 0.5]], atol=1e-3)


def test_small_differences_are_squared_by_the_pseudo_huber_error():
    huber = denoising.pseudo_huber_error(1e-3 * PREDICTIONS, TARGETS, width=1.0)
    np.testing.assert_allclose(huber, 0.5e-6 * np.array([[1.5 / 4, 1.0]]), rtol=0.1)


def test_targets_have_no_gradient():
    def loss(target, error):
        return jnp.sum(error(PREDICTIONS, target))

    for error in (denoising.squared_error, lambda *xs: denoising.pseudo_huber_error(*xs, width=0.1)):
        np.testing.assert_array_equal(jax.grad(loss)(TARGETS, error), 0)
        assert jnp.abs(jax.grad(lambda x, error=error: jnp.sum(error(x, TARGETS)))(PREDICTIONS)).max() > 0


def test_dpo_on_errors_is_diffusion_dpo():
    errors, ref_errors = jnp.array([[0.10, 0.30], [0.2, 0.2]]), jnp.array([[0.11, 0.29], [0.1, 0.3]])
    ref_logps = denoising.token_stats(ref_errors).logps
    batch = types.PreferenceBatch(ref_logps < 1, jnp.full(2, 1 / 2), ref_logps)
    value, _ = DPO(beta=50.0).loss(denoising.token_stats(errors), batch)
    inside = -0.5 * 50 * ((errors[:, 0] - errors[:, 1]) - (ref_errors[:, 0] - ref_errors[:, 1]))
    np.testing.assert_allclose(value, jnp.mean(jnp.log1p(jnp.exp(-inside))), rtol=1e-5)


def test_noising_further_gives_the_marginal_of_the_later_time():
    x0, first, second = jax.random.normal(jax.random.key(0), (3, 2, 20000))
    now, then = (jnp.full(2, 0.9), jnp.full(2, 0.3)), (jnp.full(2, 0.5), jnp.full(2, 0.8))
    got = denoising.noised_further(0.9 * x0 + 0.3 * first, second, now, then)
    np.testing.assert_allclose(jnp.mean(got * x0) / jnp.mean(x0 * x0), 0.5, atol=0.01)
    np.testing.assert_allclose(jnp.std(got - 0.5 * x0), 0.8, rtol=0.01)


def test_noised_no_further_it_only_changes_its_scale():
    images = jnp.ones((1, 2, 2))
    now = jnp.array([0.8]), jnp.array([0.4])
    np.testing.assert_allclose(denoising.noised_further(images, images, now, now), images, rtol=1e-6)


def test_guidance_away_from_a_negative_model():
    np.testing.assert_allclose(extrapolation.beyond(PREDICTIONS, TARGETS, scale=0.0), PREDICTIONS)
    np.testing.assert_allclose(extrapolation.beyond(PREDICTIONS, TARGETS, scale=6.5), 7.5 * PREDICTIONS)
