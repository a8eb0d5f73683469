import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import imitation

CURVED = {
    imitation.ChiSquared(): lambda u: (u - 1) ** 2,
    imitation.SquaredHellinger(): lambda u: (np.sqrt(u) - 1) ** 2,
    imitation.JensenShannon(): lambda u: u * np.log(u) - (u + 1) * np.log((u + 1) / 2),
    imitation.ReverseKL(): lambda u: u * np.log(u),
    imitation.ForwardKL(): lambda u: -np.log(u),
}
EVERY = [imitation.TotalVariation(), *CURVED]


@pytest.mark.parametrize(
    ("phi", "expected"), list(zip(EVERY, [0.5, 0.4375, 0.333333, 0.331797, -0.223130, 0.306853], strict=True))
)
def test_at_one_half(phi, expected):
    np.testing.assert_allclose(phi(jnp.float32(0.5)), expected, atol=1e-6)


@pytest.mark.parametrize("phi", CURVED)
def test_it_is_the_conjugate_of_the_generator(phi):
    u = np.exp(np.linspace(-12, 4, 40001))
    for x in (0.3, 0.9, 1.7):
        np.testing.assert_allclose(phi(jnp.float32(x)), np.min(x * u + CURVED[phi](u)), atol=1e-5)


@pytest.mark.parametrize("phi", EVERY[:4])
def test_at_the_reference_it_pushes_as_sft_does(phi):
    value, slope = jax.value_and_grad(phi)(jnp.float32(0))
    np.testing.assert_allclose([value, slope], [0, 1], atol=1e-6)


def test_chi_squared_rests_at_two():
    slopes = jax.vmap(jax.grad(imitation.ChiSquared()))(jnp.array([-1.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(slopes, [1.5, 0.5, 0, -0.5], atol=1e-6)


@pytest.mark.parametrize("phi", EVERY[2:])
def test_below_its_domain_it_goes_on_straight(phi):
    values, slopes = jax.vmap(jax.value_and_grad(phi))(jnp.array([-1000.0, -30.0, -29.0, 50.0, 1000.0]))
    assert np.isfinite(values).all()
    np.testing.assert_allclose(slopes[:3], imitation.STEEPEST, rtol=1e-5)
    np.testing.assert_allclose(values[2] - values[1], imitation.STEEPEST, rtol=1e-5)
    assert (slopes[3:] >= 0).all()


@pytest.mark.parametrize("phi", EVERY[2:])
def test_it_is_smooth_where_the_tangent_begins(phi):
    x = jnp.linspace(-5, 1, 2401)
    slopes = jax.vmap(jax.grad(phi))(x)
    assert (jnp.diff(slopes) <= 1e-5).all()
    assert jnp.abs(jnp.diff(phi(x))).max() < 0.03
