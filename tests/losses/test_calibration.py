import jax
import jax.numpy as jnp
import numpy as np
import pytest

from posttrain_jax.losses import calibration


def logit(p):
    return jnp.log(p) - jnp.log1p(-p)


def test_a_table_by_hand():
    """Confidences 0.6, 0.6, 0.9 and 0.7: right, wrong, right, a tie of 1/2 in the first bin."""
    margins = jnp.array([logit(jnp.float32(0.6)), -logit(jnp.float32(0.6)), logit(jnp.float32(0.9)), 0.0])
    table = calibration.reliability(margins, bins=2)
    np.testing.assert_array_equal(table.counts, [3, 1])
    np.testing.assert_allclose(table.accuracy, [0.5, 1], rtol=1e-6)
    np.testing.assert_allclose(table.confidence, [1.7 / 3, 0.9], rtol=1e-6)
    assert float(calibration.expected_error(table)) == pytest.approx(0.75 * (1.7 / 3 - 0.5) + 0.25 * 0.1, rel=1e-5)


def test_certain_answers_fall_into_the_last_bin():
    table = calibration.reliability(jnp.array([90.0, -90.0]), bins=4)
    np.testing.assert_array_equal(table.counts, [0, 0, 0, 2])
    assert float(calibration.expected_error(table)) == pytest.approx(0.5)


def test_labels_drawn_from_the_model_are_calibrated_and_the_temperature_undoes_a_scale():
    margins = 2 * jax.random.normal(jax.random.key(0), (20_000,))
    right = jax.random.bernoulli(jax.random.key(1), jax.nn.sigmoid(margins))
    drawn = jnp.where(right, margins, -margins)
    assert float(calibration.expected_error(calibration.reliability(drawn))) < 0.015
    overconfident = calibration.expected_error(calibration.reliability(3 * drawn))
    assert float(overconfident) > 0.1
    tau = calibration.temperature(3 * drawn)
    assert float(tau) == pytest.approx(3, rel=0.05)
    assert float(calibration.expected_error(calibration.reliability(3 * drawn / tau))) < 0.015
