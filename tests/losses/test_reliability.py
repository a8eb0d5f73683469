import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import reliability


def at(gap, eta):
    return float(reliability.posterior(jnp.array([gap], jnp.float32), jnp.array([eta], jnp.float32))[0])


@pytest.mark.parametrize(
    ("gap", "eta", "expected"),
    [(0.2, 0.9, 0.916615), (-2, 0.9, 0.549147), (3, 0.6, 0.967875), (0.4, 0.9, 0.930683), (1.433781, 0.9, 0.974194)],
)
def test_worked_posteriors(gap, eta, expected):
    assert at(gap, eta) == pytest.approx(expected, abs=1e-6)


def test_limits():
    assert at(-3, 1.0) == 1
    assert at(0, 0.8) == pytest.approx(0.8)
    assert at(1.3, 0.5) == pytest.approx(1 / (1 + np.exp(-1.3)))


def test_no_gradient():
    gradient = jax.grad(lambda gaps: jnp.sum(reliability.posterior(gaps, jnp.full(2, 0.8))))(jnp.ones(2))
    np.testing.assert_array_equal(gradient, 0)


def follow(eta, posteriors, annotators=None, counted=None, rate=0.1):
    posteriors = jnp.array(posteriors, jnp.float32)
    annotators = jnp.zeros(posteriors.shape, jnp.int32) if annotators is None else jnp.array(annotators)
    counted = jnp.ones(posteriors.shape, bool) if counted is None else jnp.array(counted)
    return reliability.follow(jnp.array(eta, jnp.float32), posteriors, annotators, counted, rate=rate)


def test_the_moving_average_of_two_pairs():
    np.testing.assert_allclose(follow([0.9], [0.916615, 0.549147]), [0.883288], atol=1e-6)


def test_only_annotators_of_the_batch_change_and_only_by_pairs_that_count():
    got = follow([0.9, 0.8, 0.7], [1.0, 0.6, 0.0, 0.0], [0, 2, 1, 2], [True, True, False, False])
    np.testing.assert_allclose(got, [0.91, 0.8, 0.69], rtol=1e-6)


def test_reliabilities_stay_in_range():
    np.testing.assert_allclose(follow([0.6, 0.9], [0.0, 1.0], [0, 1], rate=1.0), [0.501, 0.999], rtol=1e-6)


def test_the_true_reliability_is_the_fixed_point():
    """Calibrated p of 0.8 and 0.2, labels right with probability 0.7: 31 of 50 choose what has 0.8."""
    gaps = jnp.log(jnp.array([4.0] * 31 + [0.25] * 19))

    def step(eta):
        return float(follow([eta], reliability.posterior(gaps, jnp.full(50, eta)), rate=1.0)[0])

    assert step(0.7) == pytest.approx(0.7, abs=1e-6)
    first = step(0.9)
    np.testing.assert_allclose([first, step(first), step(step(first))], [0.866320, 0.831940, 0.800366], atol=1e-5)
    eta = 0.9
    for _ in range(60):
        eta = step(eta)
    assert eta == pytest.approx(0.7, abs=1e-3)
