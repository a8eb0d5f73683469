import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import divergence_score as score

A = jnp.array([1.0, -1.0])
EVERY = [score.ReverseKL(), score.ForwardKL(), score.JensenShannon(), score.Alpha(0.5), score.ChiSquaredKL()]


@pytest.mark.parametrize(
    ("divergence", "expected"), list(zip(EVERY, [2.0, 2.350402, 1.0, 2.084381, 4.350402], strict=True))
)
def test_difference_between_log_ratios_of_one_and_minus_one(divergence, expected):
    high, low = divergence(A)
    np.testing.assert_allclose(high - low, expected, rtol=1e-6)


GENERATORS = [
    lambda z: z * jnp.log(z),
    lambda z: -jnp.log(z),
    lambda z: z * jnp.log(z) - (z + 1) * jnp.log((z + 1) / 2),
    lambda z: (jnp.sqrt(z) - z / 2 - 0.5) / -0.25,
    lambda z: (z - 1) ** 2 / 2 + z * jnp.log(z),
]


@pytest.mark.parametrize(("divergence", "generator"), list(zip(EVERY, GENERATORS, strict=True)))
def test_scores_are_the_derivative_of_the_generator_up_to_a_constant(divergence, generator):
    a = jnp.array([-1.5, 0.0, 0.7])
    constant = jax.vmap(jax.grad(generator))(jnp.exp(a)) - divergence(a)
    np.testing.assert_allclose(constant, constant[0], atol=1e-5)


@pytest.mark.parametrize(
    ("divergence", "slope"),
    list(zip(EVERY, [1, np.exp(-0.7), 1 / (1 + np.exp(0.7)), np.exp(-0.35), 1 + np.exp(0.7)], strict=True)),
)
def test_slopes(divergence, slope):
    np.testing.assert_allclose(jax.grad(divergence)(jnp.float32(0.7)), slope, rtol=1e-5)


@pytest.mark.parametrize("divergence", EVERY)
def test_far_ratios_stay_finite(divergence):
    values, slopes = jax.vmap(jax.value_and_grad(divergence))(jnp.array([-1000.0, -50.0, 50.0, 1000.0]))
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()


def test_the_optimum_under_chi_squared_and_kl_is_lamberts_function_of_the_reward():
    w = jnp.array([0.1, 0.567143, 2.0])  # W(1) is 0.567143
    np.testing.assert_allclose(score.ChiSquaredKL()(jnp.log(w)), w + jnp.log(w), rtol=1e-5)
    np.testing.assert_allclose(score.ChiSquaredKL()(jnp.log(w))[1], 0, atol=1e-5)


def test_power_has_every_shape():
    np.testing.assert_allclose(score.power(A, alpha=0.0), A)
    np.testing.assert_allclose(score.power(A, alpha=-1.0), jnp.exp(A) - 1, rtol=1e-6)
    np.testing.assert_allclose(score.power(A, alpha=2.0), (1 - jnp.exp(-2 * A)) / 2, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_alphas_outside_are_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        score.Alpha(alpha)
