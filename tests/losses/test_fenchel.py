import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import divergence, fenchel, generator, power, skew

REWARDS, UNIFORM = np.array([1.0, 0.0, 2.0, -1.0]), np.log(np.full(4, 0.25))
WORKED = [
    (generator.ReverseKL(), 1.0, 1.053895, [0.947531, 0.348577, 2.575657, 0.128234]),
    (power.ChiSquared(), 1.0, 0.5, [1.25, 0.75, 1.75, 0.25]),
    (power.ChiSquared(), 0.5, 2 / 3, [4 / 3, 1 / 3, 7 / 3, 0]),
]
EVERY = [
    generator.ReverseKL(),
    generator.ForwardKL(),
    generator.GeneralizedJS(0.3),
    skew.SkewedKL(0.1),
    skew.SkewedReverseKL(0.1),
    power.Alpha(0.3),
    power.Alpha(1.5),
    power.ChiSquared(),
    power.Neyman(),
    power.SquaredHellinger(),
    power.ChiSquaredKL(),
]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(("one", "coef", "value", "expected"), WORKED)
def test_worked_numbers(one, coef, value, expected):
    weights, found = fenchel.weights(one, jnp.asarray(REWARDS), jnp.asarray(UNIFORM), coef)
    np.testing.assert_allclose(weights, expected, atol=6e-7)
    np.testing.assert_allclose(found, value, atol=6e-7)


def test_the_dual_has_the_value_of_the_primal():
    """chi^2 at c = .5: 1.083333 both ways."""
    one, r, ref = power.ChiSquared(), jnp.asarray(REWARDS), jnp.asarray(UNIFORM)
    weights, value = fenchel.weights(one, r, ref, 0.5)
    dual = value + 0.5 * jnp.mean(one.conjugate((r - value) / 0.5))
    primal = jnp.mean(weights * r) - 0.5 * jnp.mean((weights - 1) ** 2)
    np.testing.assert_allclose([dual, primal], 1.083333, atol=6e-7)


@pytest.mark.parametrize("one", EVERY, ids=repr)
def test_no_other_policy_does_better(one):
    ref = jax.nn.log_softmax(jnp.asarray([0.3, -0.5, 0.1, 0.4]))
    r = jnp.asarray(REWARDS)
    best = fenchel.optimum(one, r, ref, 0.7)
    np.testing.assert_allclose(best.sum(), 1, rtol=1e-9)

    def objective(p):
        return float(jnp.sum(p * r) - 0.7 * divergence.exact(one, jnp.log(p), ref))

    rng = np.random.default_rng(0)
    for other in rng.dirichlet(np.ones(4), 16):
        assert objective((best + 0.02 * other) / 1.02) <= objective(best) + 1e-12


def test_a_coefficient_that_holds_nothing_back_is_refused():
    with pytest.raises(ValueError, match="coef=0"):
        fenchel.weights(generator.ReverseKL(), jnp.asarray(REWARDS), jnp.asarray(UNIFORM), 0.0)
